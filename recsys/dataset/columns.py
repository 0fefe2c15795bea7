"""The columns of a dataset: names, kinds, which are required, and what an absent one means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Kind(StrEnum):
    """What a column holds; the value is how messages name it."""

    ID = "an id: non-empty text"
    TEXT = "text"
    TAGS = "a list of texts"
    TIME = "a time in UTC"
    DAY = "a time in UTC, or a date"
    IDS = "a list of ids"
    FLAGS = "a list of true and false"
    FLAG = "true or false"
    NUMBER = "a number"
    PLACE = "a whole number"
    SPLIT = '"train", "test" or nothing'


DTYPES: dict[Kind, pl.DataType] = {
    Kind.ID: pl.String(),
    Kind.TEXT: pl.String(),
    Kind.TAGS: pl.List(pl.String()),
    Kind.TIME: pl.Datetime("us", "UTC"),
    Kind.DAY: pl.Datetime("us", "UTC"),
    Kind.IDS: pl.List(pl.String()),
    Kind.FLAGS: pl.List(pl.Boolean()),
    Kind.FLAG: pl.Boolean(),
    Kind.NUMBER: pl.Float64(),
    Kind.PLACE: pl.Int64(),
    Kind.SPLIT: pl.String(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One declared column; ``default`` stands where an optional column, or one of its values, is absent."""

    name: str
    kind: Kind
    says: str
    required: bool = False
    default: str | float | tuple[str, ...] | None = None

    @property
    def dtype(self) -> pl.DataType:
        """The dtype of the canonical frame."""
        return DTYPES[self.kind]


def _ids(name: str, says: str) -> Column:
    return Column(name=name, kind=Kind.ID, required=True, says=says)


_REQUEST_ID = _ids("request_id", "the list's own id")
_USER_ID = _ids("user_id", "who saw it")
_SHOWN_AT = Column(name="ts", kind=Kind.TIME, required=True, says="when it was shown")
_OF_A_LIST = (
    Column(name="query", kind=Kind.TEXT, default="", says="what the user had asked for"),
    Column(name="history", kind=Kind.IDS, says="earlier items, oldest first; absent: ask the log"),
    Column(name="surface", kind=Kind.TEXT, default="", says="where it was shown: home, search, mail"),
    Column(name="weight", kind=Kind.NUMBER, default=1.0, says="how much the list counts in training"),
    Column(name="split", kind=Kind.SPLIT, says="where given, training never touches test"),
)

# Columns of the item table that are not named here are attributes: numbers, booleans, texts or lists of texts.
ITEMS = (
    _ids("item_id", "the item's own id"),
    Column(name="title", kind=Kind.TEXT, required=True, default="", says="never empty"),
    Column(name="description", kind=Kind.TEXT, default="", says="what the item says of itself"),
    Column(name="category", kind=Kind.TEXT, default="", says="one name, read as text and counted"),
    Column(name="tags", kind=Kind.TAGS, default=(), says="further words"),
    Column(name="published_at", kind=Kind.DAY, says="when it became available"),
)
IMPRESSIONS = (
    _REQUEST_ID,
    _USER_ID,
    _SHOWN_AT,
    Column(name="item_ids", kind=Kind.IDS, required=True, says="the items in shown order"),
    Column(name="clicked", kind=Kind.FLAGS, required=True, says="one flag per item"),
    *_OF_A_LIST,
)
# The long form of the impressions, one row per item shown; it is folded into the form above.
SHOWN = (
    _REQUEST_ID,
    _USER_ID,
    _SHOWN_AT,
    _ids("item_id", "the item shown"),
    Column(name="clicked", kind=Kind.FLAG, required=True, says="whether it was clicked"),
    Column(name="position", kind=Kind.PLACE, required=True, says="its place in the list, smallest first"),
    *_OF_A_LIST,
)
EVENTS = (
    _ids("event_id", "the event's own id"),
    _USER_ID,
    _ids("item_id", "the item"),
    _ids("type", "what the user did: cart, purchase, hide, ..."),
    Column(name="ts", kind=Kind.TIME, required=True, says="when"),
)


def empty_frame(columns: tuple[Column, ...]) -> pl.DataFrame:
    """Return a table without rows."""
    return pl.DataFrame(schema={column.name: column.dtype for column in columns})
