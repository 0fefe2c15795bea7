"""SQLite files that say whose they are, so that no other file is taken for one of ours, or changed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a connection keeps of its file; the system keeps the rest. SQLite's own 2,000 KiB would be much for every file
# of a small server, and fill only within hours.
_CACHE_KIB = 256


def open_database(
    path: Path | None, *, mark: bytes, create: str, durable: bool, busy_s: float = 5.0
) -> sqlite3.Connection:
    """Open a database, or make it; it may be used by several processes, and by several threads one after the other.

    Args:
        path: the file; None keeps it in memory.
        mark: four bytes that stand in the header of every such file.
        create: the statements that make a new one, each ending in a semicolon.
        durable: whether a committed transaction also survives a failure of the machine.
        busy_s: how long to wait for another process that writes.

    Raises:
        sqlite3.Error: the file is something else, and was left as it is; or it cannot be used.
    """
    database = sqlite3.connect(
        ":memory:" if path is None else path, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    try:
        _claim(database, int.from_bytes(mark, "big"), create)
        _write_ahead(database, busy_s)
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Take the right to write, and keep all that the block has written, or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def pragma(database: sqlite3.Connection, name: str) -> int:
    """Read a setting of the database that is a number."""
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _write_ahead(database: sqlite3.Connection, busy_s: float) -> None:
    """Have it keep a write-ahead log; SQLite itself does not wait here for another process that opens the file, too."""
    end = time.monotonic() + busy_s
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.005)
        else:
            return


def _claim(database: sqlite3.Connection, mark: int, create: str) -> None:
    with transaction(database):
        found = pragma(database, "application_id")
        if not found and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in create.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {mark}")
        elif found != mark:
            raise sqlite3.DatabaseError("it holds something else")
