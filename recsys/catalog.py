"""The items that a model knows: rows by id, their texts, and their attributes as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO

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

    Rows are only ever added: a changed item gets a new row, a deleted one keeps a row that no id leads to. So any
    number of threads may read while one changes items: behind a row there is always what was there before.
    """

    def __init__(self, items: pl.DataFrame) -> None:
        self.items = items
        self.ids: list[str] = items["item_id"].to_list()
        self._row = {item_id: row for row, item_id in enumerate(resting(self.ids))}
        self._index = IdIndex(self.ids)
        self._changed = False
        self._first_piece = len(items)

    def __len__(self) -> int:
        """Count the rows, those of changed and deleted items included."""
        return len(self.ids)

    def rows(self, item_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return the row of each id, -1 where the catalog does not know it."""
        return self._index.rows(item_ids if isinstance(item_ids, Sequence) else list(item_ids))

    def rows_of_column(self, item_ids: pl.Series) -> npt.NDArray[np.int32]:
        """As ``rows``; by a join where there are more ids than items, so that its index costs less than it saves."""
        if len(item_ids) < len(self._row):
            return self.rows(item_ids.to_list())
        index = pl.DataFrame({"item_id": list(self._row), "row": list(self._row.values())}, schema_overrides=_INDEX)
        found = item_ids.alias("item_id").to_frame().join(index, on="item_id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()

    def current(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return the rows that now stand for the items of ``rows``, of the same shape; -1 for deleted items."""
        if not self._changed:
            return rows
        row, ids = self._row, self.ids
        found = [row.get(ids[each], -1) if each >= 0 else -1 for each in rows.ravel().tolist()]
        return np.array(found, dtype=np.int32).reshape(rows.shape)

    def texts(self, rows: Sequence[int] | None = None) -> list[ItemText]:
        """Return what the items say, in row order or in the order of ``rows``.

        String and list attributes (a brand, a director) are read as further tags, unless the category says them.
        """
        frame = self.items if rows is None else self.items[list(rows)]
        schema = frame.schema
        words = [name for name in self.attributes if schema[name] in (pl.String, pl.List(pl.String))]
        columns = [frame[name].to_list() for name in ("title", "description", "category", "tags", *words)]
        return [
            ItemText(title=title, description=description, category=category, tags=_tags(category, tags, further))
            for title, description, category, tags, *further in zip(*columns, strict=True)
        ]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Name the item table's further columns, in table order."""
        return tuple(name for name in self.items.columns if name not in ITEM_COLUMNS)

    def changes(self, given: pl.DataFrame) -> pl.DataFrame:
        """Return those of the given items that are new or differ in any column, in the form of ``items``.

        Raises:
            InvalidRequest: a column is unknown or of another kind, a value is wrong, or an id occurs twice.
        """
        items = conform_items(given, self.items.schema)
        rows = self.rows(items["item_id"].to_list())
        there = rows >= 0
        changed = ~there
        if there.any():
            now, before = items.filter(there), self.items[rows[there].tolist()]
            changed[there] = np.any([now[name].ne_missing(before[name]).to_numpy() for name in items.columns], axis=0)
        return items.filter(changed)

    def append(self, changes: pl.DataFrame) -> npt.NDArray[np.int32]:
        """Add what ``changes`` returned; gives the new rows, which no id leads to until ``publish``."""
        first = len(self)
        items = self.items.vstack(changes)
        if items.n_chunks() > _PIECES:
            items = _one_piece(items, self._first_piece)
            self._first_piece = len(items)
        self.items = items
        self.ids.extend(changes["item_id"].to_list())
        return np.arange(first, len(self), dtype=np.int32)

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


def _one_piece(items: pl.DataFrame, begin: int) -> pl.DataFrame:
    """Make a table one piece again whose rows from ``begin`` on came in small ones.

    Polars keeps the memory that a piece's strings were built in, some KiB for each column however short they are;
    written and read again, they take no more than their length.
    """
    written = BytesIO()
    items[begin:].write_ipc(written, compat_level=pl.CompatLevel.oldest())
    written.seek(0)
    return items[:begin].vstack(pl.read_ipc(written)).rechunk()


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
