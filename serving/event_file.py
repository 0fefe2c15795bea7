"""The file of an event log: one SQLite database, marked as ours, in which every commit is on disk before it counts."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError
from recsys.files import fsync_directory

FORMAT = 1
_APPLICATION_ID = 0x52656345  # "RecE", in the file's header

# Checkpoints copy the write-ahead log into the table; rarer ones write a page that changes often only once. In pages of
# 4 KiB. The cache, in KiB, holds the inner pages of the indexes.
_CHECKPOINT_PAGES = 16000
_CACHE_KIB = 65_536

_SCHEMA = """
CREATE TABLE meta (name TEXT NOT NULL);
CREATE TABLE events (
    sequence      INTEGER PRIMARY KEY,
    event_id      TEXT NOT NULL UNIQUE,
    type          TEXT NOT NULL,     -- impression, click, or what the interaction was
    ts            INTEGER NOT NULL,  -- UTC microseconds, like received_us
    received_us   INTEGER NOT NULL,
    request_id    TEXT,              -- of an impression or a click
    user_id       TEXT,              -- of an impression or an interaction
    item_id       TEXT,              -- of a click or an interaction
    items         TEXT,              -- of an impression: its item ids as JSON
    surface       TEXT,
    query         TEXT,
    list_sequence INTEGER,           -- of a click: its impression; null until that comes
    place         INTEGER,           -- of a click: where the item stands in the list; null if it does not
    told_at       INTEGER            -- the sequence at which the state learns of it; null: never, or not yet
);
CREATE UNIQUE INDEX lists ON events (request_id) WHERE type = 'impression';
CREATE INDEX waiting ON events (request_id) WHERE type = 'click' AND list_sequence IS NULL;
CREATE INDEX clicks ON events (list_sequence, place) WHERE list_sequence IS NOT NULL;
CREATE INDEX told_late ON events (told_at, sequence) WHERE told_at > sequence;
"""


def open_file(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open the log for writing; an absent or empty file becomes a new log with a name of its own.

    Raises:
        ConfigError: the file is something else, from another version, or cannot be written.
    """
    with _explained(path):
        connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
        with _closed_on_error(connection):
            connection.execute("BEGIN IMMEDIATE")
            if new := _is_new(connection):
                _create(connection)
            else:
                _check(connection, path)
            connection.execute("COMMIT")
            # Only now, so that a file of somebody else stays as it is.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            if new:
                fsync_directory(path.parent)
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a log that is there, beside its writer.

    Raises:
        ConfigError: there is no log, or the file is something else.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; name the directory that a server was given by --data")
    with _explained(path):
        connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        with _closed_on_error(connection):
            _check(connection, path)
            connection.execute("PRAGMA query_only = ON")
    return connection


def rows_at_once(connection: sqlite3.Connection, values: str, rest: str, given: Sequence[Any]) -> list[list[Any]]:
    """Return the rows of ``SELECT values rest`` in any order, in a single step of SQLite.

    Python gives its lock away at every step and may wait 5 ms for it behind a thread that computes, so a thousand rows
    fetched one by one can take seconds in a busy server.
    """
    sql = f"SELECT json_group_array(json_array({values})) {rest}"
    (text,) = connection.execute(sql, given).fetchone()
    rows: list[list[Any]] = json.loads(text)
    return rows


def _is_new(connection: sqlite3.Connection) -> bool:
    return _mark(connection) == (0, 0) and connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def _mark(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _create(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (?)", (uuid.uuid4().hex,))
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application, version = _mark(connection)
    if application != _APPLICATION_ID:
        raise ConfigError(f"{path} is a database of something else; name another directory with --data")
    if version != FORMAT:
        raise ConfigError(
            f"{path} is an event log of format {version}, this version of recsys reads {FORMAT}; "
            "use the version that wrote it, or name another directory with --data"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(
            f"{path} cannot be used as an event log ({error}); name another directory with --data"
        ) from error


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise
