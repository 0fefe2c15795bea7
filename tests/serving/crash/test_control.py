"""What the crash test looks for is found where it is planted: of log and of either store."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recsys.events import Event
from recsys.pipeline import RankingPipeline
from serving.data_directory import EVENTS, DataDirectory


@pytest.fixture
def events(shop: Any, recount: Any) -> list[Event]:
    made: list[Event] = shop.made_events(400, random.Random(8), recount.item_ids, ["user-1", "user-2"])
    return made


@pytest.fixture
def data(tmp_path: Path, events: list[Event]) -> Iterator[DataDirectory]:
    """A directory whose log has the first half of the events."""
    with closing(DataDirectory(tmp_path / "live", late_window_s=86_400)) as opened:
        opened.event_log.append(events[:200], now_us=time.time_ns() // 1_000)
        yield opened


@pytest.fixture
def catch_up(store: Any, tiny_bundle: Path, data: DataDirectory) -> Callable[[], None]:
    """Do to the store as a server that starts and stops."""

    def run() -> None:
        with closing(RankingPipeline.load(tiny_bundle)) as model:
            store.catch_up(model, data)

    return run


def test_what_was_learned_once_equals_the_recount(
    catch_up: Any, check: Any, data: DataDirectory, events: list[Event], shop: Any, stores: Any, recount: Any
) -> None:
    catch_up()
    assert check(data.event_log) == data.event_log.sequence
    data.event_log.append(events[200:], now_us=time.time_ns() // 1_000)
    assert check(data.event_log) < data.event_log.sequence

    catch_up()
    assert check(data.event_log) > 300
    counts = shop.counted(events)
    assert stores.learned_totals(recount.bundled, recount.rows, {item_id for item_id, _ in counts}) == counts


def test_what_was_learned_and_not_noted_is_learned_again_and_found(
    catch_up: Any, check: Any, store: Any, data: DataDirectory
) -> None:
    catch_up()
    store.note(data.event_log.name, data.event_log.sequence - 20)
    catch_up()

    with pytest.raises(AssertionError, match=r"'items': .*'counts'"):
        check(data.event_log)


def test_what_was_noted_and_not_learned_is_found(
    catch_up: Any, check: Any, store: Any, data: DataDirectory, events: list[Event]
) -> None:
    catch_up()
    data.event_log.append(events[200:], now_us=time.time_ns() // 1_000)
    store.note(data.event_log.name, data.event_log.sequence - 100)
    catch_up()

    with pytest.raises(AssertionError, match=r"'items': .*'counts'"):
        check(data.event_log)


def test_a_store_that_knows_more_than_the_log_is_found(
    catch_up: Any, check: Any, store: Any, data: DataDirectory
) -> None:
    catch_up()
    store.note(data.event_log.name, data.event_log.sequence + 1)

    with pytest.raises(AssertionError, match="what is in no log"):
        check(data.event_log)


ANOTHER = (
    "SELECT 201, 'again', type, ts, received_us, request_id, user_id, item_id, items, surface, query, NULL, 0, NULL"
)


@pytest.mark.parametrize(
    "fault",
    ["DELETE FROM events WHERE sequence = 20", "UPDATE events SET event_id = 'another' WHERE sequence = 20"],
)
def test_an_event_that_the_log_lost_is_found(events: list[Event], traffic: Any, tmp_path: Path, fault: str) -> None:
    acknowledged = {event.event_id for event in events[:200]}
    recorded(tmp_path, events)
    traffic.check_ids(tmp_path, acknowledged)
    recorded(tmp_path, events, fault)

    with pytest.raises(AssertionError):
        traffic.check_ids(tmp_path, acknowledged)


def test_a_gap_is_found_where_nothing_acknowledged_is_missing(
    events: list[Event], traffic: Any, tmp_path: Path
) -> None:
    recorded(tmp_path, events, "DELETE FROM events WHERE sequence = 20")

    with pytest.raises(AssertionError):
        traffic.check_ids(tmp_path, set())


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE events SET ts = ts + 1 WHERE sequence = 20",
        "UPDATE events SET told_at = told_at + 1 WHERE told_at = sequence AND type = 'click'",
        f"INSERT INTO events {ANOTHER} FROM events WHERE type = 'click' LIMIT 1",
    ],
    ids=["changed", "told at another place", "twice"],
)
def test_an_event_that_the_log_has_otherwise_is_found(
    events: list[Event], traffic: Any, tmp_path: Path, fault: str
) -> None:
    recorded(tmp_path, events)
    traffic.check_contents(tmp_path, events, tmp_path / "anew.db")
    recorded(tmp_path, events, fault)

    with pytest.raises(AssertionError):
        traffic.check_contents(tmp_path, events, tmp_path / "anew.db")


def recorded(folder: Path, events: list[Event], fault: str = "") -> None:
    """Record what is not there yet of events, and plant a fault."""
    with closing(DataDirectory(folder, late_window_s=86_400)) as opened:
        opened.event_log.append(events[:200], now_us=time.time_ns() // 1_000)
    if fault:
        with closing(sqlite3.connect(folder / EVENTS, isolation_level=None)) as base:
            assert base.execute(fault).rowcount > 0
