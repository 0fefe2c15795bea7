"""Whoever submits together is committed together, and each is told of its own events."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from time import time_ns

import pytest
from structlog.testing import capture_logs

from recsys.errors import NotReady, NotRecorded, Overloaded
from recsys.events import Interaction, Logged
from serving.event_log import EventLog
from serving.event_writer import EventWriter


def done(event_id: str) -> Interaction:
    return Interaction(event_id=event_id, user_id="u", item_id="i", type="cart", ts=time_ns() // 1_000)


class Pupil:
    """Learns what it is told; can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[Logged]] = []
        self.learning = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, told: Sequence[Logged]) -> None:
        self.learning.set()
        assert self.may_go_on.wait(30)
        self.batches.append(list(told))

    @contextmanager
    def held_up(self, writer: EventWriter) -> Iterator[None]:
        """Let one event in, so that the writer is busy while the block submits."""
        self.may_go_on.clear()
        first = writer.submit([done("first")])
        assert self.learning.wait(30)
        yield
        assert not first.done()
        self.may_go_on.set()


@pytest.fixture
def pupil() -> Pupil:
    return Pupil()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(EventLog(tmp_path / "events.db", busy_timeout_s=0.05)) as log:
        yield log


@pytest.fixture
def started(log: EventLog, pupil: Pupil) -> Iterator[Callable[..., EventWriter]]:
    writers: list[EventWriter] = []

    def start(**limits: int) -> EventWriter:
        writers.append(EventWriter(log, pupil, **limits))
        return writers[-1]

    yield start
    for writer in writers:
        writer.close()


def test_what_waits_shares_one_commit_and_each_submitter_gets_its_own_counts(
    started: Callable[..., EventWriter], pupil: Pupil
) -> None:
    writer = started()
    with pupil.held_up(writer):
        futures = [
            writer.submit([done("a"), done("b")]),
            writer.submit([done("b"), done("c"), done("first")]),
            writer.submit([]),
        ]
    results = [future.result(30) for future in futures]

    assert [(result.accepted, result.duplicates) for result in results] == [(2, ()), (1, (0, 2)), (0, ())]
    assert [result.sequence for result in results] == [4, 4, 4]
    assert [[logged.event.event_id for logged in batch] for batch in pupil.batches] == [["first"], ["a", "b", "c"]]


def test_the_future_is_done_only_when_the_state_has_learned(started: Callable[..., EventWriter], pupil: Pupil) -> None:
    pupil.may_go_on.clear()
    future = started().submit([done("a")])
    assert pupil.learning.wait(30)

    assert not future.done()
    pupil.may_go_on.set()
    assert future.result(30).accepted == 1
    assert len(pupil.batches) == 1


def test_each_commit_is_told_with_its_size_and_its_seconds(log: EventLog, pupil: Pupil) -> None:
    told: list[tuple[int, float, float]] = []
    writer = EventWriter(log, pupil, committed=lambda *figures: told.append(figures))
    writer.submit([done("a"), done("b")]).result(30)
    assert writer.waiting == 0
    writer.close()

    ((events, commit_s, learn_s),) = told
    assert events == 2
    assert commit_s > 0 < learn_s


def test_a_transaction_takes_no_more_than_its_share(started: Callable[..., EventWriter], pupil: Pupil) -> None:
    writer = started(per_commit=4)
    with pupil.held_up(writer):
        futures = [writer.submit([done(f"{n}{k}") for k in range(3)]) for n in range(3)]
        futures.append(writer.submit([done(f"large-{k}") for k in range(9)]))
    for future in futures:
        future.result(30)

    assert [len(batch) for batch in pupil.batches] == [1, 3, 3, 3, 9]


def test_more_than_may_wait_is_refused_and_taken_later(started: Callable[..., EventWriter], pupil: Pupil) -> None:
    writer = started(waiting=4)
    with pupil.held_up(writer):
        waiting = writer.submit([done("a"), done("b"), done("c")])
        with pytest.raises(Overloaded, match=r"no room for 2 events: 3 wait .* at most 4 may; send these again"):
            writer.submit([done("d"), done("e")])
    waiting.result(30)

    assert writer.submit([done("d"), done("e")]).result(30).accepted == 2


def test_a_commit_that_fails_is_told_to_those_it_was_for_and_the_next_one_succeeds(
    started: Callable[..., EventWriter], pupil: Pupil, tmp_path: Path
) -> None:
    writer = started()
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotRecorded, match="database is locked"):
            writer.submit([done("a")]).result(30)
        other.execute("ROLLBACK")

    assert pupil.batches == []
    assert writer.submit([done("a")]).result(30).accepted == 1


def test_a_state_that_cannot_learn_is_told_and_the_thread_goes_on(log: EventLog) -> None:
    def learn(told: Sequence[Logged]) -> None:
        if told[0].event.event_id == "bad":
            raise ArithmeticError("cannot")

    writer = EventWriter(log, learn)
    with pytest.raises(ArithmeticError):
        writer.submit([done("bad")]).result(30)
    assert writer.submit([done("good")]).result(30).accepted == 1
    writer.close()


def test_closing_writes_what_waits_and_takes_nothing_more(
    started: Callable[..., EventWriter], pupil: Pupil, log: EventLog
) -> None:
    writer = started()
    with pupil.held_up(writer):
        futures = [writer.submit([done(str(n))]) for n in range(20)]
        writer.finish()
        with pytest.raises(NotReady, match="shutting down"):
            writer.submit([done("late")])
        assert writer.busy
    writer.close()

    assert [future.result(0).accepted for future in futures] == [1] * 20
    assert not writer.busy
    assert list(chain(*log.since(0))) == list(chain(*pupil.batches))


def test_many_threads_at_once_lose_nothing_and_see_one_order(
    started: Callable[..., EventWriter], pupil: Pupil, log: EventLog
) -> None:
    writer = started(per_commit=50)

    def submit(name: int) -> None:
        for n in range(30):
            assert writer.submit([done(f"{name}-{n}"), done(f"shared-{n}")]).result(30).size == 2

    threads = [threading.Thread(target=submit, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    told = list(chain(*pupil.batches))
    assert len(told) == 8 * 30 + 30
    assert [logged.sequence for logged in told] == list(range(1, len(told) + 1))
    assert list(chain(*log.since(0))) == told


class Forgetful(Pupil):
    """Cannot learn some events until it is well."""

    def __init__(self, *cannot: str) -> None:
        super().__init__()
        self.cannot = set(cannot)

    def __call__(self, told: Sequence[Logged]) -> None:
        if self.cannot & {each.event.event_id for each in told}:
            raise MemoryError("cannot think")
        super().__call__(told)

    @property
    def learned(self) -> list[str]:
        return [each.event.event_id for each in chain(*self.batches)]


def test_what_could_not_be_learned_is_learned_with_the_next_events(log: EventLog) -> None:
    pupil = Forgetful("a")
    with closing(EventWriter(log, pupil)) as writer:
        with pytest.raises(MemoryError):
            writer.submit([done("a")]).result(30)
        pupil.cannot.clear()
        assert writer.submit([done("b")]).result(30).accepted == 1
        assert writer.submit([done("c")]).result(30).accepted == 1

    assert pupil.learned == ["a", "b", "c"]


def test_an_event_sent_again_after_a_failure_makes_up_for_it(log: EventLog) -> None:
    pupil, again = Forgetful("a"), done("a")
    with closing(EventWriter(log, pupil)) as writer:
        with pytest.raises(MemoryError):
            writer.submit([again]).result(30)
        pupil.cannot.clear()
        assert writer.submit([again]).result(30).duplicates == (0,)

    assert pupil.learned == ["a"]


def test_of_what_cannot_be_learned_the_newest_are_kept_and_the_others_are_told(log: EventLog) -> None:
    pupil = Forgetful(*"abcdefg")
    with closing(EventWriter(log, pupil, unlearned=3)) as writer, capture_logs() as lines:
        for ids in ("abcde", "fg"):
            with pytest.raises(MemoryError):
                writer.submit([done(each) for each in ids]).result(30)
        pupil.cannot.clear()
        writer.submit([done("z")]).result(30)

    assert pupil.learned == ["e", "f", "g", "z"]
    given_up = [line for line in lines if line["event"] == "events given up"]
    assert [(line["events"], line["newest"]) for line in given_up] == [(2, 2), (2, 4)]
    # One line a try, however many there are.
    assert [line["events"] for line in lines if line["event"] == "events not learned"] == [5, 3, 2]


def test_one_event_that_can_never_be_learned_holds_up_no_other(log: EventLog) -> None:
    pupil = Forgetful("poison")
    with closing(EventWriter(log, pupil)) as writer:
        with pytest.raises(MemoryError):
            writer.submit([done("a"), done("poison"), done("b")]).result(30)
        assert writer.submit([done("c")]).result(30).accepted == 1

    assert pupil.learned == ["a", "b", "c"]
