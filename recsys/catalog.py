"""The items that a model knows: rows by id, their texts, and their attributes as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.dataset.item_rows import conform_items
from recsys.gentle import resting
from recsys.id_index import IdIndex
from recsys.schema import MAX_TEXT_BYTES, ItemText

# The columns of an item table that the product itself gives a meaning; all others are attributes.
ITEM_COLUMNS = ("item_id", "title", "description", "category", "tags", "published_at")

# A table of more pieces than this is made one piece again, so that looking into it stays fast.
_PIECES = 64

_INDEX = {"item_id": pl.String, "row": pl.Int32}


class Catalog:
    """An item table (see ``recsys.dataset``) with an index from item id to row; row -1 stands for an unknown item.

    A changed item gets another row, a deleted one keeps a row that no id leads to, and a row is its item's for ever.
    So any number of threads may read while one changes items: behind a row there is what was there before, until
    whoever appends says that it may take what its item is now (``recsys.spare_rows``).
    """

    def __init__(self, items: pl.DataFrame) -> None:
        self._table = _Table(items, np.arange(len(items), dtype=np.int32), len(items), len(items))
        self.ids: list[str] = items["item_id"].to_list()
        self._row = {item_id: row for row, item_id in enumerate(resting(self.ids))}
        self._index = IdIndex(self.ids)
        self._changed = False

    def __len__(self) -> int:
        """Count the rows, those of changed and deleted items included."""
        return len(self.ids)

    @property
    def schema(self) -> pl.Schema:
        """The columns of the item table, with their dtypes."""
        return self._table.items.schema

    @property
    def items(self) -> pl.DataFrame:
        """What the rows say, in their order."""
        return self.at(np.arange(len(self), dtype=np.int32))

    def at(self, rows: npt.NDArray[np.integer]) -> pl.DataFrame:
        """Return what some rows [n] say, as a table of their order."""
        table = self._table
        places = table.places[rows]
        whole = len(places) == len(table.items) and bool((places == np.arange(len(places))).all())
        return table.items if whole else table.items[places]

    def rows(self, item_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return the row of each id, -1 where the catalog does not know it."""
        return self._index.rows(item_ids if isinstance(item_ids, Sequence) else list(item_ids))

    def rows_of_column(self, item_ids: pl.Series) -> npt.NDArray[np.int32]:
        """As ``rows``; by a join where there are more ids than items, so that its index costs less than it saves."""
        if len(item_ids) < len(self._row):
            return self.rows(item_ids.to_list())
        index = pl.DataFrame({"item_id": list(self._row), "row": list(self._row.values())}, schema_overrides=_INDEX)
        found = item_ids.alias("item_id").to_frame().join(index, on="item_id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy(writable=True)

    def current(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return the rows that now stand for the items of ``rows``, of the same shape; -1 for deleted items."""
        if not self._changed:
            return rows
        row, ids = self._row, self.ids
        found = [row.get(ids[each], -1) if each >= 0 else -1 for each in rows.ravel().tolist()]
        return np.array(found, dtype=np.int32).reshape(rows.shape)

    def texts(self, rows: Sequence[int] | None = None) -> list[ItemText]:
        """Return what the items say, in row order or in the order of ``rows``."""
        return self.texts_of(self.items if rows is None else self.at(np.array(rows, np.int32)))

    def texts_of(self, items: pl.DataFrame) -> list[ItemText]:
        """Return what items say that have the form of ``items``.

        String and list attributes (a brand, a director) are read as further tags, unless the category says them.
        """
        schema = items.schema
        words = [name for name in self.attributes if schema[name] in (pl.String, pl.List(pl.String))]
        columns = [items[name].to_list() for name in ("title", "description", "category", "tags", *words)]
        return [
            ItemText(title=title, description=description, category=category, tags=_tags(category, tags, further))
            for title, description, category, tags, *further in zip(*columns, strict=True)
        ]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Name the item table's further columns, in table order."""
        return tuple(name for name in self.schema if name not in ITEM_COLUMNS)

    def changes(self, given: pl.DataFrame) -> pl.DataFrame:
        """Return those of the given items that are new or differ in any column, in the form of ``items``.

        Raises:
            InvalidRequest: a column is unknown or of another kind, a value is wrong, or an id occurs twice.
        """
        items = conform_items(given, self.schema)
        rows = self.rows(items["item_id"].to_list())
        there = rows >= 0
        changed = ~there
        if there.any():
            now, before = items.filter(there), self.at(rows[there])
            changed[there] = np.any([now[name].ne_missing(before[name]).to_numpy() for name in items.columns], axis=0)
        return items.filter(changed)

    def append(self, changes: pl.DataFrame, spare: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int32]:
        """Add what ``changes`` returned; gives the rows [n] of it, which no id leads to until ``publish``.

        Args:
            changes: n items.
            spare: rows [n] of the same items that nobody reads, which take what the items are now; -1 for a new row.
        """
        rows = np.full(len(changes), -1, np.int32) if spare is None else spare.copy()
        new = np.flatnonzero(rows < 0)
        ids = changes["item_id"].to_list()
        rows[new] = np.arange(len(self), len(self) + len(new), dtype=np.int32)
        self._table = self._table.saying(rows, changes)
        self.ids.extend(ids[place] for place in new.tolist())
        return rows

    def publish(self, rows: npt.NDArray[np.int32]) -> None:
        """Let the ids lead to these rows from now on."""
        self._changed = True
        for row in rows.tolist():
            self._row[self.ids[row]] = row
        self._index.put(rows)

    def upsert(self, given: pl.DataFrame) -> npt.NDArray[np.int32]:
        """Add items, or replace what is known of them; returns each one's new row, -1 where nothing has changed.

        One thread at a time may change items. Raises as ``changes`` does, and then nothing has changed.
        """
        added = self.append(self.changes(given))
        self.publish(added)
        row_of_id = {self.ids[row]: row for row in added.tolist()}
        return np.array([row_of_id.get(item_id, -1) for item_id in given["item_id"].to_list()], dtype=np.int32)

    def delete(self, item_ids: Iterable[str]) -> int:
        """Make items unknown, and count those that were known."""
        self._changed = True
        known = [item_id for item_id in item_ids if self._row.pop(item_id, None) is not None]
        self._index.remove(known)
        return len(known)


class _Table(NamedTuple):
    """Items as they came, the first ``given`` of them at once, and the place [I] among them of what each row says.

    From ``small`` on they came in small pieces.
    """

    items: pl.DataFrame
    places: npt.NDArray[np.int32]
    given: int
    small: int

    def saying(self, rows: npt.NDArray[np.int32], items: pl.DataFrame) -> _Table:
        """Return a table whose rows [n] say what these items are."""
        places = np.empty(max(len(self.places), int(rows.max(initial=-1)) + 1), np.int32)
        places[: len(self.places)] = self.places
        places[rows] = np.arange(len(self.items), len(self.items) + len(rows))
        table = _Table(self.items.vstack(items), places, self.given, self.small)
        return table if table.items.n_chunks() <= _PIECES else table._one_piece()

    def _one_piece(self) -> _Table:
        """Make one piece of the small ones, without what no row says any more.

        Polars keeps the memory that a piece's strings were built in, some KiB for each column however short they are;
        written and read again, they take no more than their length. What came earlier is gone through once as much of
        it has been said as is said, so that a change costs the same however many there were.
        """
        said = np.count_nonzero(self.places >= self.given)
        begin = self.given if len(self.items) - self.given > 2 * said else self.small
        rows = np.flatnonzero(self.places >= begin)
        written = BytesIO()
        self.items[self.places[rows]].write_ipc(written, compat_level=pl.CompatLevel.oldest())
        written.seek(0)
        places = self.places.copy()
        places[rows] = np.arange(begin, begin + len(rows))
        items = self.items[:begin].vstack(pl.read_ipc(written)).rechunk()
        return _Table(items, places, self.given, len(items))


def _tags(category: str, tags: list[str], further: list[str | list[str] | None]) -> tuple[str, ...]:
    said = list(tags)
    for value in further:
        said.extend([value] if isinstance(value, str) else value or [])
    kept: list[str] = []
    room = MAX_TEXT_BYTES
    for tag in dict.fromkeys(said):
        room -= len(tag.encode()) + 1
        if tag and tag not in category and room >= 0:
            kept.append(tag)
    return tuple(kept)
