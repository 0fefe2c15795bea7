"""Items as they were sent, as rows of an item table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from recsys.dataset.item_rows import attributes_of, check_attributes
from recsys.errors import InvalidRequest
from serving.convert_items import check_count
from serving.pb import ranking_pb2 as pb

# A year around 1970, where seconds and milliseconds would lie, is refused; so is what lies before the year 1.
_YEAR_US = 31_536_000_000_000
_FIRST_US = int((datetime(1, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000
_LATEST_US = 7_258_118_400_000_000

_KINDS: dict[str, tuple[str, pl.DataType]] = {
    "number": ("a number", pl.Float64()),
    "flag": ("true or false", pl.Boolean()),
    "text": ("a text", pl.String()),
    "texts": ("a list of texts", pl.List(pl.String())),
}


def items_from_wire(message: pb.UpsertItemsRequest, schema: pl.Schema) -> pl.DataFrame:
    """Read items as rows of an item table; what its values must be is for the table to say.

    Raises:
        InvalidRequest: there are too many items, a time is none, or an attribute is unknown or of several kinds.
    """
    check_count(len(message.items), "items")
    sent = {name for item in message.items for name in item.attributes}
    if declared := (sent & set(schema)) - set(attributes_of(schema)):
        raise InvalidRequest(f"{min(declared)} is no attribute; send it in the field of that name")
    check_attributes(sorted(sent), schema)
    columns = [
        pl.Series("item_id", [item.item_id for item in message.items], dtype=pl.String),
        *(
            pl.Series(name, [getattr(item.text, name) for item in message.items], dtype=pl.String)
            for name in ("title", "description", "category")
        ),
        pl.Series("tags", [list(item.text.tags) for item in message.items], dtype=pl.List(pl.String)),
        pl.Series("published_at", [_published(item) for item in message.items], dtype=pl.Int64).cast(
            pl.Datetime("us", "UTC")
        ),
        *(_attribute(name, [item.attributes for item in message.items]) for name in sorted(sent)),
    ]
    return pl.DataFrame(columns)


def _published(item: pb.Item) -> int | None:
    moment = item.published_us
    if moment and not (_FIRST_US <= moment < _LATEST_US and abs(moment) >= _YEAR_US):
        raise InvalidRequest(f"published_us is {moment}, which is no time of an item; send UTC microseconds")
    return moment or None


def _attribute(name: str, items: Sequence[Any]) -> pl.Series:
    """Gather one attribute of all items; it must be of one kind in all that have it."""
    kinds = [each[name].WhichOneof("value") if name in each else None for each in items]
    found = sorted({kind for kind in kinds if kind})
    if len(found) > 1:
        said = " and ".join(_KINDS[kind][0] for kind in found)
        raise InvalidRequest(f"attribute {name} is {said} in one call; send one kind")
    if not found:
        return pl.Series(name, [None] * len(items), dtype=pl.Null)
    values = [None if kind is None else getattr(each[name], kind) for kind, each in zip(kinds, items, strict=True)]
    if found == ["texts"]:
        values = [None if value is None else list(value.texts) for value in values]
    return pl.Series(name, values, dtype=_KINDS[found[0]][1])
