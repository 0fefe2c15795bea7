"""Teaches the shared state what this server's log tells: each event once, however often and wherever it is told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from secrets import token_bytes
from typing import Any

import structlog

from recsys.events import Logged
from recsys.features.ground import Ground
from serving.shared_state.batch import Batch, batches
from serving.shared_state.generation import Generation, stays
from serving.shared_state.link import Link, NoState, Script
from serving.shared_state.rows import Found, Wanted, check_status, read
from serving.shared_state.scripts import COMMIT, RELEASE
from serving.shared_state.settings import RedisSettings

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
        self._heard = 0
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
                self._log_name, self._heard = log_name, self._ask_heard(log_name)
                self._tell(told_after(self._heard))
            except NoState as error:
                self._fall_behind(error)
            else:
                self.behind = False
            return not self.behind

    def heard_of(self, log_name: str) -> int:
        """Ask up to where the store knows a log; raises NoState where it does not answer."""
        with self._lock:
            return self._ask_heard(log_name)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _fall_behind(self, error: NoState) -> None:
        self.behind = True
        _log.warning("the shared state is behind the log", reason=error.reason, error=str(error), heard=self._heard)

    def _ask_heard(self, log_name: str) -> int:
        found = read(self._link, self._generation.base, Wanted(), deadline=self._deadline())
        assert found is not None  # noqa: S101  # nobody asked for a turn
        return found.heard.get(log_name, 0)

    def _tell(self, told: Iterable[Logged]) -> None:
        for batch in batches(told):
            deadline, rows = self._deadline(), Batch(self._ground, batch)
            try:
                self._learn(rows, deadline)
            except NoState as error:
                if error.reason != "connection":
                    raise
                # It may have been done all the same; the store says so when it is asked again.
                self._learn(rows, deadline)

    def _learn(self, batch: Batch, deadline: float) -> None:
        """Learn a batch whole; raises NoState when the store does not take it by ``deadline``."""
        turn = token_bytes(16)
        while True:
            found = read(self._link, self._generation.base, batch.wanted, deadline=deadline, turn=turn)
            if found is None:
                time.sleep(random.uniform(0.000_5, 0.003))
                continue
            heard = found.heard.get(self._log_name, 0)
            if heard < self._heard:
                self._run(RELEASE, turn, deadline=deadline)
                raise NoState("lost", f"it knew {self._log_name!r} up to {self._heard}, and now up to {heard} only")
            if heard >= batch.last:
                self._run(RELEASE, turn, deadline=deadline)
            elif not self._commit(batch, found, heard, turn, deadline):
                continue
            self._heard = max(heard, batch.last)
            return

    def _commit(self, batch: Batch, found: Found, heard: int, turn: bytes, deadline: float) -> bool:
        """Learn, and write what changed; False if another server wrote since the rows were read."""
        changed, rest, marks = batch.learn(found, heard)
        words = [
            word
            for table, (keys, rows) in changed.items()
            for word in (keys.tobytes(), rows.tobytes(), stays(table, keys, self._ground))
        ]
        kept = (self._settings.keep_s, self._settings.late_s)
        revision = token_bytes(16)
        told = (found.revision, revision, turn, self._log_name, batch.last, *kept, *rest, marks, *words)
        return self._run(COMMIT, *told, deadline=deadline) == b"ok"

    def _run(self, script: Script, *words: Any, deadline: float) -> bytes:
        nonce = token_bytes(16)
        reply = self._link.run(script, nonce, self._generation.base, *words, deadline=deadline)
        try:
            return check_status(reply, nonce)
        except NoState:
            self._link.close()
            raise

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.patience_s
