"""Only a file that says it is ours is used; a transaction is kept whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

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
