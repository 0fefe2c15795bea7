"""The log keeps each event once, joins clicks with their lists, and tells the same again from its file."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import NotRecorded
from recsys.events import Click, Event, Impression, Interaction, Logged
from serving.event_log import EventLog
from serving.recorded import RejectionReason

NOW = 1_780_000_000_000_000
MINUTE = 60_000_000
DAY = 86_400_000_000


def shown(event_id: str, request_id: str, *item_ids: str, ts: int = NOW) -> Impression:
    return Impression(
        event_id=event_id, request_id=request_id, user_id="u", ts=ts, item_ids=item_ids, surface="home", query="q"
    )


def clicked(event_id: str, request_id: str, item_id: str, ts: int = NOW) -> Click:
    return Click(event_id=event_id, request_id=request_id, item_id=item_id, ts=ts)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(EventLog(tmp_path / "events.db")) as log:
        yield log


def everything(log: EventLog, sequence: int = 0, batch: int = 10_000) -> list[Logged]:
    return list(chain.from_iterable(log.since(sequence, batch=batch)))


def test_events_are_numbered_from_one_and_told_as_they_are(log: EventLog) -> None:
    events = [
        shown("e1", "r", "a", "b"),
        clicked("e2", "r", "b"),
        Interaction(event_id="e3", user_id="u", item_id="c", type="cart", ts=NOW),
    ]

    appended = log.append(events, now_us=NOW)

    assert (appended.accepted, appended.duplicates, appended.rejected, appended.sequence) == (3, (), (), 3)
    assert appended.told == [
        Logged(sequence=1, event=events[0]),
        Logged(sequence=2, event=events[1], shown=events[0]),
        Logged(sequence=3, event=events[2]),
    ]
    assert everything(log) == appended.told


def test_the_log_knows_when_its_newest_event_happened(log: EventLog) -> None:
    assert log.newest_us == 0
    now_us = 1_700_000_000_000_000
    for number, ts in enumerate((now_us, now_us - 5)):
        log.append([Interaction(event_id=f"e-{number}", user_id="u", item_id="i", type="cart", ts=ts)], now_us=now_us)

    assert log.newest_us == now_us - 5


def test_an_event_sent_again_is_counted_once_even_within_one_batch_and_after_the_late_window(log: EventLog) -> None:
    event = shown("e1", "r", "a")
    first = log.append([event, event], now_us=NOW)
    again = log.append([event], now_us=NOW + 30 * DAY)

    assert (first.accepted, first.duplicates) == (1, (1,))
    assert (again.accepted, again.duplicates, again.rejected, again.told, again.sequence) == (0, (0,), (), [], 1)


def test_a_click_that_came_before_its_list_is_told_right_after_the_list(log: EventLog) -> None:
    orphans, impression = [clicked("e1", "r", "b"), clicked("e2", "r", "a")], shown("e3", "r", "a", "b")

    assert log.append(orphans[:1], now_us=NOW).told == []
    told = log.append([*orphans[1:], impression], now_us=NOW).told

    assert told == [
        Logged(sequence=3, event=impression),
        Logged(sequence=3, event=orphans[0], shown=impression),
        Logged(sequence=3, event=orphans[1], shown=impression),
    ]
    assert everything(log) == told


def test_a_click_off_its_list_and_a_second_click_are_kept_and_never_told(log: EventLog, tmp_path: Path) -> None:
    first = log.append([shown("e1", "r", "a"), clicked("e2", "r", "a"), clicked("e3", "r", "a")], now_us=NOW)
    second = log.append([clicked("e4", "r", "a"), clicked("e5", "r", "z")], now_us=NOW)

    assert [logged.event.event_id for logged in first.told] == ["e1", "e2"]
    assert (second.accepted, second.told) == (2, [])
    with closing(sqlite3.connect(tmp_path / "events.db")) as file:
        rows = file.execute(
            "SELECT event_id, list_sequence, place, told_at FROM events WHERE type = 'click'"
        ).fetchall()
    assert rows == [("e2", 1, 0, 2), ("e3", 1, 0, None), ("e4", 1, 0, None), ("e5", 1, None, None)]


@pytest.mark.parametrize(
    ("ts", "reason", "says"),
    [
        (NOW - 7 * DAY - 1, RejectionReason.TOO_LATE, "taken up to 7 days late"),
        (-5, RejectionReason.TOO_LATE, "UTC microseconds"),
        (NOW + 5 * MINUTE + 1, RejectionReason.FUTURE, "claims to happen at"),
        (NOW * 1_000, RejectionReason.FUTURE, "microseconds"),
    ],
)
def test_what_happened_too_long_ago_or_in_the_future_is_rejected(
    log: EventLog, ts: int, reason: RejectionReason, says: str
) -> None:
    appended = log.append([shown("ok", "r1", "a"), shown("bad", "r2", "a", ts=ts)], now_us=NOW)

    (rejected,) = appended.rejected
    assert (rejected.position, rejected.event_id, rejected.reason) == (1, "bad", reason)
    assert says in rejected.message
    assert (appended.accepted, appended.sequence) == (1, 1)


def test_the_edges_of_the_windows_are_taken_and_a_clock_ahead_is_set_back_to_now(log: EventLog) -> None:
    oldest, ahead = shown("e1", "r1", "a", ts=NOW - 7 * DAY), shown("e2", "r2", "a", ts=NOW + 5 * MINUTE)

    told = log.append([oldest, ahead], now_us=NOW).told

    assert [logged.event for logged in told] == [oldest, replace(ahead, ts=NOW)]
    assert everything(log) == told


def test_a_second_list_of_one_request_id_is_a_conflict_whether_or_not_in_the_same_batch(log: EventLog) -> None:
    appended = log.append([shown("e1", "r", "a"), shown("e2", "r", "b")], now_us=NOW)
    later = log.append([shown("e3", "r", "b"), clicked("e4", "r", "a")], now_us=NOW)

    assert [(r.position, r.event_id, r.reason) for r in appended.rejected] == [(1, "e2", RejectionReason.CONFLICT)]
    assert [(r.position, r.event_id, r.reason) for r in later.rejected] == [(0, "e3", RejectionReason.CONFLICT)]
    assert [logged.shown for logged in later.told] == [shown("e1", "r", "a")]


def test_what_was_rejected_may_come_again_corrected(log: EventLog) -> None:
    log.append([shown("e", "r", "a", ts=NOW + DAY)], now_us=NOW)

    assert log.append([shown("e", "r", "a")], now_us=NOW).accepted == 1


def test_counts_of_a_part_are_those_of_its_events_alone(log: EventLog) -> None:
    log.append([shown("old", "r", "a")], now_us=NOW)
    events = [shown("e1", "r1", "a"), shown("old", "r", "a"), shown("e2", "r", "b"), shown("e3", "r3", "c")]
    appended = log.append(events, now_us=NOW)

    part = appended.part(1, 4)

    assert (part.size, part.accepted, part.duplicates) == (3, 1, (0,))
    assert [(r.position, r.event_id) for r in part.rejected] == [(1, "e2")]


def test_a_log_keeps_its_name_and_two_logs_have_two(tmp_path: Path) -> None:
    names = []
    for file in ("a.db", "b.db", "a.db"):
        with closing(EventLog(tmp_path / file)) as log:
            names.append(log.name)

    assert names[0] == names[2] != names[1]


def test_ids_are_compared_byte_for_byte(log: EventLog) -> None:
    ids = ["a", "A", "a\0", "a\0b", "é", "e\u0301", " a", "'", '"', "\\"]
    events = [shown(f"e{id_}", f"r{id_}", id_, "other") for id_ in ids]
    clicks = [clicked(f"c{id_}", f"r{id_}", id_) for id_ in ids]

    told = [*log.append(events, now_us=NOW).told, *log.append(clicks, now_us=NOW).told]

    assert [logged.event for logged in told] == [*events, *clicks]
    assert everything(log) == told
    assert log.append([*events, *clicks], now_us=NOW).duplicates == tuple(range(2 * len(ids)))


@pytest.mark.parametrize("size", [1, 2, 4, 5, 63, 1_024, 1_025, 3_000])
def test_batches_of_any_size_are_kept_whole(log: EventLog, size: int) -> None:
    lists = [shown(f"e{n}", f"r{n}", "a", "b") for n in range(size)]
    clicks = [clicked(f"c{n}", f"r{n}", "b") for n in range(size)]

    told = [*log.append(lists, now_us=NOW).told, *log.append(clicks, now_us=NOW).told]

    assert len(told) == 2 * size
    assert everything(log) == told
    assert len(log.append([*lists, *clicks], now_us=NOW).duplicates) == 2 * size


def test_a_batch_that_is_read_again_ends_between_two_sequences(log: EventLog) -> None:
    log.append([clicked(f"c{n}", "r", f"i{n}") for n in range(7)], now_us=NOW)
    log.append([shown("e1", "r", *(f"i{n}" for n in range(7))), shown("e2", "r2", "a")], now_us=NOW)

    batches = list(log.since(0, batch=2))

    assert [[logged.sequence for logged in batch] for batch in batches] == [[8] * 8, [9]]


IDS = st.sampled_from(["1", "2", "3", "4", "5", "6", "7", "8", "\0", "8\0"])
LISTS = st.sampled_from(["r", "s", "t", "t\0"])
ITEMS = st.sampled_from(["a", "b", "c"])
TIMES = st.sampled_from([NOW, NOW - DAY, NOW - 8 * DAY, NOW + MINUTE, NOW + DAY])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Impression,
        event_id=IDS,
        request_id=LISTS,
        user_id=st.sampled_from(["", "u"]),
        ts=TIMES,
        item_ids=st.lists(ITEMS, min_size=1, unique=True).map(tuple),
        query=st.sampled_from(["", "q\0"]),
    ),
    st.builds(Click, event_id=IDS, request_id=LISTS, item_id=ITEMS, ts=st.just(NOW)),
    st.builds(
        Interaction, event_id=IDS, user_id=st.just("u"), item_id=ITEMS, type=st.sampled_from(["cart", "hide"]), ts=TIMES
    ),
)


def expected(appends: Sequence[Sequence[Event]]) -> list[Logged]:
    """Apply the rules of ``Logged`` to one event after the other, as slowly and plainly as can be."""
    stored: list[Event] = []
    told: list[Logged] = []
    for event in chain.from_iterable(appends):
        known = {one.event_id for one in stored}
        lists = {one.request_id: one for one in stored if isinstance(one, Impression)}
        conflict = isinstance(event, Impression) and event.request_id in lists
        if event.event_id in known or conflict or not NOW - 7 * DAY <= event.ts <= NOW + 5 * MINUTE:
            continue
        stored.append(replace(event, ts=min(event.ts, NOW)))
        told += newly_told(stored, told)
    return told


def newly_told(stored: Sequence[Event], told: Sequence[Logged]) -> Iterator[Logged]:
    """Say what is to be told now that the last event is stored."""
    last, sequence = stored[-1], len(stored)
    if not isinstance(last, Click):
        yield Logged(sequence=sequence, event=last)
    done = {(one.event.request_id, one.event.item_id) for one in told if isinstance(one.event, Click)}
    lists = {one.request_id: one for one in stored if isinstance(one, Impression)}
    for click in stored:
        if isinstance(click, Click) and click.request_id in lists:
            place, shown_ = (click.request_id, click.item_id), lists[click.request_id]
            if place not in done and click.item_id in shown_.item_ids:
                done.add(place)
                yield Logged(sequence=sequence, event=click, shown=shown_)


@settings(deadline=None, max_examples=150)
@given(
    appends=st.lists(st.lists(EVENTS, max_size=8), max_size=8),
    resent=st.lists(st.integers(0, 7), max_size=3),
    reopened=st.sets(st.integers(0, 10)),
    batch=st.integers(1, 4),
)
def test_what_is_told_while_appending_is_told_again_from_the_file(
    appends: list[list[Event]], resent: list[int], reopened: set[int], batch: int
) -> None:
    sent = [*appends, *(appends[place] for place in resent if place < len(appends))]
    told: list[Logged] = []
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(Path(folder) / "events.db")
        for number, events in enumerate(sent):
            if number in reopened:
                log.close()
                log = EventLog(Path(folder) / "events.db")
            told += log.append(events, now_us=NOW).told
        again = everything(log, batch=batch)
        later = everything(log, log.sequence // 2, batch)
        middle = log.sequence // 2
        log.close()

    assert told == expected(sent)
    assert again == told
    assert later == [logged for logged in told if logged.sequence > middle]
    assert [logged.sequence for logged in told] == sorted(logged.sequence for logged in told)


def test_a_full_disk_records_nothing_of_the_batch_and_the_log_goes_on_when_there_is_room(log: EventLog) -> None:
    kept = log.append([shown("e1", "r1", "a")], now_us=NOW).told
    (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
    log._connection.execute(f"PRAGMA max_page_count = {pages}")
    batch = [shown(f"b{n}", f"s{n}", *(f"item-{i}" for i in range(50))) for n in range(200)]

    with pytest.raises(NotRecorded, match=r"database or disk is full.*nothing of them is recorded.*send them again"):
        log.append(batch, now_us=NOW)
    assert everything(log) == kept
    assert log.sequence == 1

    log._connection.execute("PRAGMA max_page_count = 100000")
    assert log.append(batch, now_us=NOW).accepted == 200


def test_a_file_locked_by_another_process_is_an_error_that_says_so(tmp_path: Path) -> None:
    with (
        closing(EventLog(tmp_path / "events.db", busy_timeout_s=0.05)) as log,
        closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotRecorded, match="database is locked"):
            log.append([shown("e", "r", "a")], now_us=NOW)
        other.execute("ROLLBACK")

        assert log.append([shown("e", "r", "a")], now_us=NOW).accepted == 1


def test_every_commit_is_synced_before_it_counts(log: EventLog) -> None:
    settings_ = {name: log._connection.execute(f"PRAGMA {name}").fetchone() for name in ("synchronous", "journal_mode")}

    assert settings_ == {"synchronous": (2,), "journal_mode": ("wal",)}


def test_a_thousand_events_take_a_handful_of_statements(log: EventLog) -> None:
    lists = [shown(f"e{n}", f"r{n}", "a", "b") for n in range(1_000)]
    orphans = [clicked(f"o{n}", f"s{n}", "a") for n in range(1_000)]
    log.append(orphans, now_us=NOW)
    statements: list[str] = []
    log._connection.set_trace_callback(statements.append)

    log.append(
        [
            *lists,
            *(clicked(f"c{n}", f"r{n}", "b") for n in range(1_000)),
            *(shown(f"f{n}", f"s{n}", "a") for n in range(48)),
        ],
        now_us=NOW,
    )

    assert len(statements) < 25, "each one waits for Python's lock, up to 5 ms beside a thread that computes"
