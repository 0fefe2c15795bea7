"""Every change of the items since the bundle was made: durable before it is answered, and in the order it happened."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recsys.database import open_database, transaction
from recsys.errors import StorageError

_CREATE = """
    CREATE TABLE items (
        sequence INTEGER PRIMARY KEY, item_id TEXT NOT NULL, payload TEXT, recorded_us INTEGER NOT NULL
    );
    CREATE INDEX by_item ON items (item_id, sequence);
"""

_ALL = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """One item as of one moment: its columns by name, times in UTC microseconds; None where it was deleted."""

    sequence: int
    item_id: str
    columns: Mapping[str, Any] | None
    recorded_us: int


def changes_of(items: pl.DataFrame) -> Iterator[ItemChange]:
    """Yield rows of an item table as changes that are in no log yet."""
    for row in items.with_columns(pl.col(pl.Datetime).dt.epoch("us")).iter_rows(named=True):
        yield ItemChange(sequence=0, item_id=row.pop("item_id"), columns=row, recorded_us=0)


class ItemLog:
    """The log of one data directory; None keeps it in memory. Safe to use from several threads.

    Sequence numbers begin at 1 and never repeat.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the log, or make it.

        Raises:
            StorageError: the file is something else, damaged, or cannot be written.
        """
        self._path = path
        self._using = threading.Lock()
        with self._explained():
            self._base = open_database(path, mark=b"RCI1", create=_CREATE, durable=True)

    @property
    def sequence(self) -> int:
        """The number of the newest change; 0 when there is none."""
        with self._using, self._explained():
            return int(self._base.execute("SELECT coalesce(max(sequence), 0) FROM items").fetchone()[0])

    def upserted(self, items: pl.DataFrame) -> int:
        """Record rows of an item table as they are now; durable on return, all or none. Returns ``sequence``.

        Raises:
            StorageError: they could not be made durable.
        """
        return self._append(
            [(change.item_id, json.dumps(change.columns, ensure_ascii=False)) for change in changes_of(items)]
        )

    def deleted(self, item_ids: Sequence[str]) -> int:
        """Record that items are gone; otherwise as ``upserted``."""
        return self._append([(item_id, None) for item_id in item_ids])

    def current(self, sequence: int | None = None) -> Iterator[ItemChange]:
        """Return the newest change of each item that ever changed, in the order of the changes.

        With a sequence number, as it was then.
        """
        upto = _ALL if sequence is None else sequence
        newest = "SELECT max(sequence) FROM items WHERE sequence <= ? GROUP BY item_id"
        return self._changes(f"WHERE sequence IN ({newest})", upto)

    def as_of(self, sequence: int, *, after: int = 0) -> Iterator[ItemChange]:
        """Return the changes behind ``after``, up to and with a sequence number, oldest first."""
        return self._changes("WHERE sequence <= ? AND sequence > ?", sequence, after)

    def close(self) -> None:
        """Close the log."""
        with self._using:
            self._base.close()

    def _append(self, changes: Sequence[tuple[str, str | None]]) -> int:
        now = time.time_ns() // 1_000
        with self._using, self._explained(), transaction(self._base):
            self._base.executemany(
                "INSERT INTO items (item_id, payload, recorded_us) VALUES (?, ?, ?)",
                [(item_id, payload, now) for item_id, payload in changes],
            )
            return int(self._base.execute("SELECT coalesce(max(sequence), 0) FROM items").fetchone()[0])

    def _changes(self, where: str, *values: int) -> Iterator[ItemChange]:
        """Read changes in parts, so that a long log neither fills the memory nor holds up a writer."""
        after = 0
        query = f"SELECT * FROM items {where} AND sequence > ? ORDER BY sequence LIMIT 1000"  # noqa: S608 - our own
        while True:
            with self._using, self._explained():
                rows = self._base.execute(query, (*values, after)).fetchall()
            for sequence, item_id, payload, recorded_us in rows:
                columns = None if payload is None else json.loads(payload)
                yield ItemChange(sequence=sequence, item_id=item_id, columns=columns, recorded_us=recorded_us)
            if not rows:
                return
            after = rows[-1][0]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"the item log {self._path} cannot be used ({error}); correct what is named, or restore the file: "
                "it holds the items that changed since the bundle was made"
            ) from error
