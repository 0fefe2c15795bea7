"""Commits events in groups: whoever waits shares one transaction, and is answered when it is on disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import groupby

import structlog

from recsys.errors import NotReady, Overloaded
from recsys.events import Event, Logged
from serving.event_log import EventLog
from serving.logging import frames_of
from serving.recorded import Appended

_PER_COMMIT = 10_000
_WAITING = 50_000
# What could not be learned is tried again with every commit, so it must not become much.
_UNLEARNED = 1_000

# Told how many events were committed together, and the seconds that this and learning them took.
Committed = Callable[[int, float, float], None]

_log = structlog.get_logger()


class EventWriter:
    """One thread that appends to the log what is submitted, has it learned, and then answers.

    A transaction takes ``per_commit`` events, or one submission if that is larger; no more than ``waiting`` wait for
    one. ``learn`` is called in the writer's thread with what the log told, before the submitters are answered, and then
    ``committed``. What it cannot learn is tried again, of which no more than the newest ``unlearned`` are kept.
    """

    def __init__(
        self,
        log: EventLog,
        learn: Callable[[Sequence[Logged]], None],
        *,
        committed: Committed = lambda *_: None,
        per_commit: int = _PER_COMMIT,
        waiting: int = _WAITING,
        unlearned: int = _UNLEARNED,
    ) -> None:
        self._event_log = log
        self._learn = learn
        self._committed = committed
        self._per_commit = per_commit
        self._most_waiting = waiting
        self._most_unlearned = unlearned
        # What is in the log and could not be learned; tried again with every commit.
        self._unlearned: list[list[Logged]] = []
        self._queue: deque[tuple[Sequence[Event], Future[Appended]]] = deque()
        self._waiting = 0
        self._closed = False
        self._changed = threading.Condition()
        self._finished: Future[None] = Future()
        self._finished.set_running_or_notify_cancel()
        # A daemon, so that a disk that hangs does not keep a stopping server alive.
        threading.Thread(target=self._run, name="event-writer", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether there may be something to write."""
        return not self._finished.done()

    @property
    def waiting(self) -> int:
        """How many events wait to be written."""
        return self._waiting

    @property
    def sequence(self) -> int:
        """The number of the newest event in the log."""
        return self._event_log.sequence

    def submit(self, events: Sequence[Event]) -> Future[Appended]:
        """Have the events recorded; the future's counts and positions are those of these events alone.

        The future cannot be cancelled. It raises ``NotRecorded`` when the commit failed.

        Raises:
            Overloaded: too much is waiting already.
            NotReady: the writer is closed.
        """
        future: Future[Appended] = Future()
        future.set_running_or_notify_cancel()
        with self._changed:
            if self._closed:
                raise NotReady("the server is shutting down; send the events to another one, or again later")
            if self._waiting and self._waiting + len(events) > self._most_waiting:
                raise Overloaded(
                    f"no room for {len(events)} events: {self._waiting} wait to be written, at most "
                    f"{self._most_waiting} may; send these again in a moment"
                )
            self._waiting += len(events)
            self._queue.append((events, future))
            self._changed.notify()
        return future

    def finish(self) -> Future[None]:
        """Take nothing more; the future is done when what waits is written and the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        return self._finished

    def close(self) -> None:
        """Finish, and wait for it."""
        self.finish().result()

    def _run(self) -> None:
        while group := self._take():
            self._commit(group)
        self._finished.set_result(None)

    def _take(self) -> list[tuple[Sequence[Event], Future[Appended]]]:
        """Wait for submissions, and take as many as fit one transaction; none when closed and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            group: list[tuple[Sequence[Event], Future[Appended]]] = []
            size = 0
            while self._queue and (not group or size + len(self._queue[0][0]) <= self._per_commit):
                group.append(self._queue.popleft())
                size += len(group[-1][0])
            self._waiting -= size
            return group

    def _commit(self, group: list[tuple[Sequence[Event], Future[Appended]]]) -> None:
        try:
            events = [event for submitted, _ in group for event in submitted]
            began = time.perf_counter()
            appended = self._event_log.append(events, now_us=time.time_ns() // 1_000)
            durable = time.perf_counter()
            self._have_learned(appended.told)
            self._committed(len(events), durable - began, time.perf_counter() - durable)
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the thread goes on
            _log.error(
                "events not taken", events=sum(len(submitted) for submitted, _ in group), frames=frames_of(error)
            )
            for _, future in group:
                future.set_exception(error)
            return
        start = 0
        for submitted, future in group:
            future.set_result(appended.part(start, start + len(submitted)))
            start += len(submitted)

    def _have_learned(self, told: Sequence[Logged]) -> None:
        """Have the events learned, and first those that could not be before; raises what keeps new ones from it."""
        if self._unlearned:
            self._unlearned = self._one_by_one(self._unlearned)
        try:
            if told:
                self._learn(told)
        except Exception:
            # One event that cannot be learned must not hold up the others; what is told at one number stays together.
            groups = [list(together) for _, together in groupby(told, key=lambda logged: logged.sequence)]
            self._unlearned += self._one_by_one(groups)
            self._give_up_the_oldest()
            raise

    def _one_by_one(self, groups: list[list[Logged]]) -> list[list[Logged]]:
        """Learn what can be learned of some groups; returns the others."""
        others = []
        first: Exception | None = None
        for group in groups:
            try:
                self._learn(group)
            except Exception as error:  # noqa: BLE001 - logged, and tried again
                first = first or error
                others.append(group)
        if first is not None:
            newest = others[-1][0].sequence
            _log.error("events not learned", events=len(others), newest=newest, frames=frames_of(first))
        return others

    def _give_up_the_oldest(self) -> None:
        beyond = self._unlearned[: -self._most_unlearned]
        if beyond:
            del self._unlearned[: len(beyond)]
            _log.error(
                "events given up", events=len(beyond), newest=beyond[-1][0].sequence,
                remedy="they are in the event log; a start without snapshots of the state learns them",
            )  # fmt: skip
