"""Teaches the shared state what this server's log tells: each event once, however often and wherever it is told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from recsys.events import Logged
from recsys.features.ground import Ground
from serving.shared_state.batch import Batch, Learned, batches
from serving.shared_state.generation import Generation, put
from serving.shared_state.link import Link, NoState
from serving.shared_state.rows import Wanted, read
from serving.shared_state.settings import RedisSettings

# How long a writer may keep the others waiting before they go ahead.
_TURN_MS = 1_000

_log = structlog.get_logger()


class RedisWriter:
    """Reads the rows that events concern, learns on them, and writes them back if nobody was faster; else once more.

    In the same step the store notes up to where it knows the log, so that every event is learned exactly once, whenever
    this process or the store may stop. Starts ``behind``: ``catch_up`` first.
    """

    def __init__(self, url: str, ground: Ground, generation: Generation, settings: RedisSettings) -> None:
        self.behind = True
        self._ground = ground
        self._generation = generation
        self._settings = settings
        self._link = Link(url)
        self._log_name = ""
        self._found = self._heard = 0
        self._lock = threading.Lock()

    def join(self) -> bool:
        """Make sure that the store holds the bundle's state; False where it is away."""
        try:
            self._generation.join(self._ground)
        except NoState as error:
            _log.warning("the shared state is away", reason=error.reason, error=str(error))
            return False
        return True

    def hear(self, told: Sequence[Logged]) -> None:
        """Learn events that the log has just told; all events of one sequence number must come together.

        Where the store does not take them within ``patience_s``, this server is ``behind``: nothing is raised, and
        nothing more is learned until ``catch_up`` tells the store what it lacks from the log.
        """
        with self._lock:
            if self.behind:
                return
            try:
                self._tell(told)
            except NoState as error:
                self._fall_behind(error)

    def catch_up(self, log_name: str, told_after: Callable[[int], Iterable[Logged]]) -> bool:
        """Tell the store what it lacks of a log: ``told_after(n)`` yields what was told after sequence number n.

        Nothing may be told meanwhile. Returns whether the store knows all of it now; if not, try again later.
        """
        with self._lock:
            self.behind = True
            try:
                self._generation.join(self._ground)
                self._log_name, self._found = log_name, self._ask_heard(log_name)
                self._heard = self._found
                self._tell(told_after(self._found))
            except NoState as error:
                self._fall_behind(error)
            else:
                self.behind = False
            return not self.behind

    @property
    def caught_up(self) -> tuple[int, int]:
        """Up to where the store knew the log when it was last caught up, and up to where it knows it since."""
        return self._found, self._heard

    def heard_of(self, log_name: str) -> int:
        """Ask up to where the store knows a log; raises NoState where it does not answer."""
        with self._lock:
            return self._ask_heard(log_name)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _fall_behind(self, error: NoState) -> None:
        self.behind = True
        self._link.close()
        _log.warning("the shared state is behind the log", reason=error.reason, error=str(error), heard=self._heard)

    def _ask_heard(self, log_name: str) -> int:
        deadline = self._connected()
        return read(self._link, self._generation.base, Wanted(), deadline=deadline).heard.get(log_name, 0)

    def _tell(self, told: Iterable[Logged]) -> None:
        for events in batches(told):
            batch = Batch(self._ground, events)
            try:
                self._learn(batch, self._connected())
            except NoState as error:
                if error.reason != "connection":
                    raise
                # It may have been done all the same; the store says so when it is asked again.
                self._learn(batch, self._connected())

    def _connected(self) -> float:
        """Open the connection where it is not; returns the moment by which the store has to have answered."""
        if not self._link.quiet:
            self._link = self._generation.open_link()
        return time.monotonic() + self._settings.patience_s

    def _learn(self, batch: Batch, deadline: float) -> None:
        """Learn a batch whole; raises NoState when the store does not take it by ``deadline``."""
        base, link = self._generation.base, self._link
        while True:
            self._take_turn(deadline)
            # From here on: if anybody else writes, nothing of this is written.
            link.call("WATCH", base + b"heard", deadline=deadline)
            found = read(link, base, batch.wanted, deadline=deadline, watched=True)
            heard = found.heard.get(self._log_name, 0)
            if heard < self._heard:
                raise NoState("lost", f"it knew {self._log_name!r} up to {self._heard}, and now up to {heard} only")
            if heard >= batch.last:
                link.each(("UNWATCH",), ("DEL", base + b"turn"), deadline=deadline)
                break
            items = read(link, base, batch.items(found), deadline=deadline, watched=True)
            learned = batch.learn(found, items, heard)
            if link.together(*self._commands(learned, batch.last), deadline=deadline) is not None:
                break
        self._heard = max(heard, batch.last)

    def _take_turn(self, deadline: float) -> None:
        """Wait until no other server is writing, or one has taken too long; who goes too early has worked in vain."""
        turn = ("SET", self._generation.base + b"turn", b"", "NX", "PX", _TURN_MS)
        while self._link.call(*turn, deadline=deadline) is None:
            time.sleep(random.uniform(0.000_5, 0.003))

    def _commands(self, learned: Learned, last: int) -> list[tuple[Any, ...]]:
        base, settings = self._generation.base, self._settings
        commands: list[tuple[Any, ...]] = []
        for table, rows in learned.changed.items():
            commands += put(base, table, rows, self._ground, settings.keep_s)
        return [
            *commands,
            ("MSET", base + b"overall", learned.overall, base + b"places", learned.places),
            *(("SET", base + b"m" + mark, b"", "EX", settings.late_s) for mark in learned.marks),
            ("HSET", base + b"heard", self._log_name, last),
            ("DEL", base + b"turn"),
        ]
