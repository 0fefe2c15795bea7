"""Only a file that says it is ours is used; a transaction is kept whole."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import recsys.database
from recsys.database import open_database, transaction

CREATE = "CREATE TABLE words (word TEXT);"


def open_words(path: Path | None, mark: bytes = b"TST1") -> sqlite3.Connection:
    return open_database(path, mark=mark, create=CREATE, durable=True)


def words(database: sqlite3.Connection) -> list[str]:
    return [word for (word,) in database.execute("SELECT word FROM words")]


def test_a_file_is_made_once_and_found_again(tmp_path: Path) -> None:
    for word in ("one", "two"):
        database = open_words(tmp_path / "words")
        with transaction(database):
            database.execute("INSERT INTO words VALUES (?)", (word,))
        database.close()

    database = open_words(tmp_path / "words")
    assert words(database) == ["one", "two"]
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


@pytest.mark.parametrize("waits_s", [5.0, 0.0])
def test_another_one_that_opens_a_new_file_at_the_same_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits_s: float
) -> None:
    claim = recsys.database._claim
    other = sqlite3.connect(tmp_path / "words", isolation_level=None, check_same_thread=False)

    def claimed(*args: Any) -> None:
        claim(*args)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.1, other.rollback).start()

    def opened() -> sqlite3.Connection:
        return open_database(tmp_path / "words", mark=b"TST1", create=CREATE, durable=True, busy_s=waits_s)

    monkeypatch.setattr(recsys.database, "_claim", claimed)
    if waits_s:
        opened().close()
    else:  # the control
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            opened()
    time.sleep(0.2)
    other.close()


def _half(database: sqlite3.Connection) -> None:
    with transaction(database):
        database.execute("INSERT INTO words VALUES ('one')")
        _ = 1 / 0


def test_a_transaction_that_fails_leaves_nothing() -> None:
    database = open_words(None)
    with pytest.raises(ZeroDivisionError):
        _half(database)

    assert words(database) == []
    database.close()


def test_a_file_of_another_kind_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    database = open_words(tmp_path / "words")
    database.close()
    content = (tmp_path / "words").read_bytes()

    with pytest.raises(sqlite3.DatabaseError, match="it holds something else"):
        open_words(tmp_path / "words", b"TST2")
    assert (tmp_path / "words").read_bytes() == content
