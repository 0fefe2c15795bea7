"""The items of a bundle while they change: a row has all that belongs to it before an id leads to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl

from recsys.catalog import Catalog
from recsys.spare_rows import Rows, SpareRows
from recsys.text.live_vectors import LiveVectors
from recsys.text.model import TextModel
from recsys.text.reader import TextReader
from recsys.text.vectors import Vectors

# What makes a change durable; returns the change's number where the changes are numbered.
Record = Callable[[pl.DataFrame], int | None]
RecordDeleted = Callable[[list[str]], int | None]


class LiveItems:
    """A catalog and the vectors of its texts; any number of threads read, and one after the other changes items.

    Who looks up rows does so within ``reading``, until it needs them no more: an item that changes takes a row that it
    had before where nobody reads that one, so that a changed item occupies two rows, however often it changes.

    ``prepare`` is given the rows that say something new, before an id leads to them; ``scope`` is ``TextReader``'s.
    ``sequence`` is the number of the newest recorded change, None while one is being made: whoever reads the same
    number before and after has seen the items as of it.
    """

    def __init__(
        self,
        catalog: Catalog,
        vectors: Vectors,
        text: TextModel,
        *,
        prepare: Callable[[Rows], None],
        scope: bytes,
    ) -> None:
        self.catalog = catalog
        self.sequence: int | None = 0
        self._vectors = LiveVectors(vectors)
        self.reader = TextReader(text, catalog, self._vectors, scope)
        self._prepare = prepare
        self._changing = threading.Lock()
        self._spare = SpareRows()
        self._deleted: dict[str, int] = {}
        self.reading = self._spare.reading

    @property
    def vectors(self) -> Vectors:
        """The vectors of the catalog's rows as of now; take them once, after every row has been looked up."""
        return self._vectors.now

    def upsert(self, items: pl.DataFrame, record: Record | None = None) -> int:
        """Add items, or replace what is known of them, and count those that are new or changed.

        Args:
            items: item_id, title, and further columns of the item table; absent ones take their defaults.
            record: is given the rows that have changed, before anything does; if it raises, nothing has changed.

        Raises:
            InvalidRequest: the items do not fit the item table; nothing has changed.
        """
        with self._changing:
            changes = self.catalog.changes(items)
            if changes.is_empty():
                return 0
            number = None if record is None else record(changes)
            with self._unsettled(number):
                ids = changes["item_id"].to_list()
                before = self.catalog.rows(ids)
                self.reader.remember(before[before >= 0])
                known = self.reader.known(self.catalog.texts_of(changes))  # while what is forgotten next is here
                spare = self._spare.take(ids, self.reader.unread)
                self.reader.forget(spare[spare >= 0])
                rows = self.catalog.append(changes, spare)
                self._vectors.grow(len(self.catalog))
                waiting = self.reader.place(rows, known)
                self._prepare(rows)
                self.catalog.publish(rows)  # last: whoever finds a row finds all that belongs to it
                self._leave(ids, before)
            self.reader.read(waiting)
        return len(rows)

    def delete(self, item_ids: Iterable[str], record: RecordDeleted | None = None) -> int:
        """Make items unknown, and count those that were known; ``record`` is given their ids first."""
        with self._changing:
            ids = list(dict.fromkeys(item_ids))
            rows = self.catalog.rows(ids)
            known = [item_id for item_id, row in zip(ids, rows, strict=True) if row >= 0]
            number = record(known) if known and record is not None else None
            with self._unsettled(number):
                self.reader.remember(rows[rows >= 0])
                self.catalog.delete(known)
                self._deleted.update(
                    (item_id, row) for item_id, row in zip(ids, rows.tolist(), strict=True) if row >= 0
                )
        return len(known)

    def close(self) -> None:
        """Stop reading texts, and let go of whoever prepared new rows, so that all memory is free once nobody asks."""
        self.reader.close()
        with self._changing:
            self._prepare = lambda _: None

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Let no item change while the block runs."""
        with self._changing:
            yield

    def _leave(self, ids: list[str], before: Rows) -> None:
        """Take note of rows that nothing leads to any more, those of items that had been deleted among them.

        To a deleted item's row the state's histories lead until the item has another one.
        """
        deleted = np.array([self._deleted.pop(item_id, -1) for item_id in ids], np.int32)
        left = np.where(before >= 0, before, deleted)
        self.reader.drop(left[left >= 0])
        self._spare.leave(ids, left)

    @contextmanager
    def _unsettled(self, number: int | None) -> Iterator[None]:
        before, self.sequence = self.sequence, None
        yield
        self.sequence = before if number is None else number  # a change that failed half-way leaves None
