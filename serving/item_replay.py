"""Brings a bundle's items to where the item log says they are; a bundle may have other columns than the log's items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import polars as pl
import structlog

from recsys.errors import InvalidRequest
from serving.item_log import ItemChange, ItemLog
from serving.model import Model

_PART = 1_000

# What makes changed rows durable; returns the number of the newest change.
Record = Callable[[pl.DataFrame], int]

_log = structlog.get_logger()


class Items(Protocol):
    """A table of items that changes are made in, such as a model's."""

    @property
    def item_schema(self) -> pl.Schema:
        """The columns, as in the item table of a dataset."""

    def upsert(self, items: pl.DataFrame, record: Record | None = None) -> int:
        """Add or replace items; raises InvalidRequest where they do not fit."""

    def delete(self, item_ids: Iterable[str]) -> int:
        """Make items unknown."""


def replay_items(log: ItemLog, model: Model, *, sequence: int | None = None) -> None:
    """Apply the newest change of every item that ever changed, up to and with a sequence number where one is given.

    Columns that the model does not have, or has in another kind, are left out; an item that it refuses all the same is
    left as the bundle has it. Both are logged.
    """
    upto = log.sequence if sequence is None else sequence
    changes = log.current(upto)
    _apply(iter(lambda: list(islice(changes, _PART)), []), model)
    model.follow_items(upto)


def replay_changes(changes: Iterable[ItemChange], model: Items, record: Record | None = None) -> None:
    """Apply changes one after the other, as they were made; otherwise as ``replay_items``.

    ``record`` is given the rows of upserts that are news to the model, before anything changes.
    """
    _apply(_alike(changes), model, record)


def _alike(changes: Iterable[ItemChange]) -> Iterator[list[ItemChange]]:
    """Gather changes that can be made at once: of one kind, each of another item."""
    part: list[ItemChange] = []
    for change in changes:
        if part and (
            len(part) == _PART
            or (change.columns is None) != (part[0].columns is None)
            or any(change.item_id == other.item_id for other in part)
        ):
            yield part
            part = []
        part.append(change)
    if part:
        yield part


def _apply(parts: Iterable[list[ItemChange]], model: Items, record: Record | None = None) -> None:
    left_out = set[str]()
    for part in parts:
        model.delete([change.item_id for change in part if change.columns is None])
        upserted = [change for change in part if change.columns is not None]
        left_out |= _left_out(upserted, model.item_schema)
        try:
            model.upsert(_frame(upserted, model.item_schema), record)
        except InvalidRequest:
            for change in upserted:
                _replay_one(change, model, record)
    if left_out:
        _log.warning("item columns left out", columns=sorted(left_out))


def _replay_one(change: ItemChange, model: Items, record: Record | None) -> None:
    try:
        model.upsert(_frame([change], model.item_schema), record)
    except InvalidRequest:
        _log.error("item change left out", sequence=change.sequence)  # its message would quote the item


def _frame(changes: Sequence[ItemChange], schema: pl.Schema) -> pl.DataFrame:
    columns = [pl.Series("item_id", [change.item_id for change in changes], dtype=pl.String)]
    for name, dtype in schema.items():
        if name != "item_id":
            values = [(change.columns or {}).get(name) for change in changes]
            fitting = [value if _fits(value, dtype) else None for value in values]
            columns.append(pl.Series(name, fitting, dtype=pl.Int64 if dtype.is_temporal() else dtype, strict=False))
    return pl.DataFrame(columns).cast({name: dtype for name, dtype in schema.items() if dtype.is_temporal()})


def _left_out(changes: Sequence[ItemChange], schema: pl.Schema) -> set[str]:
    return {
        name
        for change in changes
        for name, value in (change.columns or {}).items()
        if value is not None and (name not in schema or not _fits(value, schema[name]))
    }


def _fits(value: Any, dtype: pl.DataType) -> bool:
    """Tell whether a JSON value is one of a column, or nothing."""
    if value is None:
        return True
    if dtype == pl.Boolean:
        return isinstance(value, bool)
    if dtype.is_integer() or dtype.is_temporal():
        # Of infinity and of what is no number, nothing divides either.
        return not isinstance(value, bool) and isinstance(value, int | float) and value % 1 == 0
    if dtype.is_float():
        return not isinstance(value, bool) and isinstance(value, int | float)
    return isinstance(value, list if isinstance(dtype, pl.List) else str)
