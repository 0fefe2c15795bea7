"""A log's file is marked as ours, and no other file is touched."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from serving.event_file import open_for_reading
from serving.event_log import EventLog


def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as file:
        file.execute("CREATE TABLE t (x)")
    before = other.read_bytes()

    with pytest.raises(ConfigError, match=r"other\.db is a database of something else; name another directory"):
        EventLog(other)
    assert other.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text("no database, but long enough to be taken for one" * 100)

    with pytest.raises(ConfigError, match=r"cannot be used as an event log .*not a database"):
        EventLog(tmp_path / "events.db")


def test_a_log_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    EventLog(path).close()
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 2")

    with pytest.raises(ConfigError, match="format 2, this version of recsys reads 1"):
        EventLog(path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/events\.db cannot be used"):
        EventLog(tmp_path / "nowhere" / "events.db")


def test_an_empty_file_becomes_a_log(tmp_path: Path) -> None:
    (tmp_path / "events.db").touch()

    with closing(EventLog(tmp_path / "events.db")) as log:
        assert (log.sequence, len(log.name)) == (0, 32)


def test_a_reader_makes_no_log_and_changes_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; name the directory that a server was given by --data"):
        open_for_reading(tmp_path / "events.db")
    EventLog(tmp_path / "events.db").close()

    with (
        closing(open_for_reading(tmp_path / "events.db")) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("INSERT INTO meta VALUES ('x')")
