"""The receipts of one data directory: a file in which the oldest make room for the newest."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recsys.database import open_database, transaction
from recsys.errors import StorageError
from recsys.receipt import Receipt
from serving.receipt_rows import COLUMNS, Kept, Run, receipt_of, row_of

MOST_RECEIPTS, MOST_BYTES = 100_000, 1 << 30

_CREATE = """
    CREATE TABLE runs (
        run INTEGER PRIMARY KEY, bundle_id TEXT NOT NULL, snapshot INTEGER NOT NULL, events INTEGER NOT NULL,
        items INTEGER NOT NULL
    );
    CREATE TABLE changes (item INTEGER PRIMARY KEY, events INTEGER NOT NULL);
    CREATE TABLE receipts (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL, request_id TEXT NOT NULL,
        time_us INTEGER NOT NULL, bundle_id TEXT NOT NULL, log_name TEXT, events INTEGER, items INTEGER,
        request TEXT NOT NULL, answer TEXT NOT NULL, figures BLOB NOT NULL
    );
    CREATE INDEX by_request ON receipts (request_id);
    CREATE INDEX by_state ON receipts (run, events, items, sequence);
"""
_COLUMNS = ", ".join(COLUMNS)
_SIZE = "length(request) + length(answer) + length(figures)"
_PAGE = 200


class ReceiptLog:
    """The file of receipts; safe to use from several threads.

    ``most`` receipts and about ``most_bytes`` are kept. Each bundle of a server has runs of its own; without one,
    receipts are of run 0.
    """

    def __init__(self, path: Path, *, most: int = MOST_RECEIPTS, most_bytes: int = MOST_BYTES) -> None:
        """Open the file, or make it.

        Raises:
            StorageError: the file is something else, damaged, or cannot be written.
        """
        self._path, self._most, self._most_bytes = path, most, most_bytes
        self._run_of: dict[str, int] = {}
        self._using = threading.Lock()
        with self._explained():
            self._base = open_database(path, mark=b"RCR1", create=_CREATE, durable=False)
            self._count, self._bytes = self._base.execute(
                f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM receipts"  # noqa: S608 - our own columns
            ).fetchone()

    def __len__(self) -> int:
        """Count the receipts."""
        return int(self._count)

    def begin(self, run: Run) -> None:
        """Note from where a bundle goes on; what is kept of it from now on is of this run."""
        with self._using, self._explained():
            done = self._base.execute(
                "INSERT INTO runs (bundle_id, snapshot, events, items) VALUES (?, ?, ?, ?)",
                (run.bundle_id, run.snapshot, run.events, run.items),
            )
            self._run_of[run.bundle_id] = int(done.lastrowid or 0)

    def note(self, changes: range, events: int) -> None:
        """Note up to where the event log was known when items changed; their changes by number."""
        with self._using, self._explained():
            self._base.executemany(
                "INSERT OR REPLACE INTO changes VALUES (?, ?)", [(number, events) for number in changes]
            )

    def known_at(self, change: int) -> int | None:
        """Return up to where the event log was known when an item changed; None where nobody noted it."""
        with self._using, self._explained():
            row = self._base.execute("SELECT events FROM changes WHERE item = ?", (change,)).fetchone()
        return None if row is None else int(row[0])

    def keep(self, receipts: Sequence[Receipt]) -> None:
        """Write receipts, and let the oldest go where there is no room; all or none is written.

        Raises:
            StorageError: they could not be written.
        """
        rows = [row_of(receipt, self._run_of.get(receipt.bundle_id, 0)) for receipt in receipts]
        with self._using, self._explained(), transaction(self._base):
            self._base.executemany(
                f"INSERT INTO receipts ({_COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS))})",  # noqa: S608
                rows,
            )
            count = self._count + len(rows)
            size = self._bytes + sum(sum(map(len, row[-3:])) for row in rows)
            left = self._make_room(count, size)
        self._count, self._bytes = left  # only now: what could not be committed does not count

    def named(self, request_id: str) -> list[Kept]:
        """Return the receipts of a request id, oldest first."""
        return self._read("request_id = ? ORDER BY sequence", request_id)

    def runs(self) -> list[tuple[int, Run]]:
        """Return the runs by their numbers, oldest first."""
        with self._using, self._explained():
            rows = self._base.execute("SELECT * FROM runs ORDER BY run").fetchall()
        return [
            (number, Run(bundle_id=bundle_id, snapshot=snapshot, events=events, items=items))
            for number, bundle_id, snapshot, events, items in rows
        ]

    def of_run(self, run: int, log_name: str, since: int = 0) -> Iterator[Kept]:
        """Return those receipts of a run that know one event log, and the items, up to a number, in the order of these.

        Those numbered below ``since`` are left out; the others are read pages at a time.
        """
        after = (-1, -1, 0)
        while page := self._read(
            "run = ? AND sequence >= ? AND log_name = ? AND items IS NOT NULL "
            f"AND (events, items, sequence) > (?, ?, ?) ORDER BY events, items, sequence LIMIT {_PAGE}",
            run,
            since,
            log_name,
            *after,
        ):
            yield from page
            last = page[-1].receipt
            after = (last.state_versions[log_name], last.item_sequence or 0, page[-1].sequence)

    def since(self, newest: int | None) -> int:
        """Return the number from which on so many newest receipts begin; 0 is all of them."""
        if newest is None:
            return 0
        with self._using, self._explained():
            row = self._base.execute(
                "SELECT sequence FROM receipts ORDER BY sequence DESC LIMIT 1 OFFSET ?", (newest - 1,)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def count(self, since: int) -> int:
        """Count the receipts from a number on."""
        with self._using, self._explained():
            return int(self._base.execute("SELECT count(*) FROM receipts WHERE sequence >= ?", (since,)).fetchone()[0])

    def beyond(self, log_name: str, since: int = 0) -> tuple[int, int]:
        """Count what ``of_run`` leaves out: receipts that know other logs, and those amid a change of items."""
        with self._using, self._explained():
            others, amid = self._base.execute(
                "SELECT count(*) FILTER (WHERE log_name IS NOT ?1), "
                "count(*) FILTER (WHERE log_name IS ?1 AND items IS NULL) FROM receipts WHERE sequence >= ?2",
                (log_name, since),
            ).fetchone()
        return others, amid

    def close(self) -> None:
        """Close the file."""
        with self._using:
            self._base.close()

    def _read(self, where: str, *values: object) -> list[Kept]:
        query = f"SELECT sequence, {_COLUMNS} FROM receipts WHERE {where}"  # noqa: S608 - our own columns
        with self._using, self._explained():
            rows = self._base.execute(query, values).fetchall()
        found = []
        for sequence, *row in rows:
            try:
                run, receipt = receipt_of(row)
            except (ValueError, KeyError, TypeError, zlib.error) as error:
                raise StorageError(
                    f"receipt {sequence} in {self._path} is damaged ({error}); delete that row"
                ) from error
            found.append(Kept(sequence=sequence, run=run, receipt=receipt))
        return found

    def _make_room(self, count: int, size: int) -> tuple[int, int]:
        """Delete the oldest until the rest fits; returns how many are left, and their size."""
        last = 0
        oldest = self._base.execute(f"SELECT sequence, {_SIZE} FROM receipts ORDER BY sequence")  # noqa: S608
        while (count > self._most or size > self._most_bytes) and count > 1:
            last, freed = oldest.fetchone()
            count, size = count - 1, size - freed
        oldest.close()
        if last:
            self._base.execute("DELETE FROM receipts WHERE sequence <= ?", (last,))
        return count, size

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"the receipts in {self._path} cannot be used ({error}); correct what is named, or move the file away: "
                "rankings do not need it"
            ) from error
