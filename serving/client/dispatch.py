"""Decides where a call goes, when it goes again, and when elsewhere too; sends nothing itself."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from grpc import StatusCode

from recsys.errors import ConfigError
from serving.client.allowance import Allowance
from serving.client.ended import CLOSED, Ended
from serving.client.hedge_delay import HedgeAfter, HedgeDelay, hedge_delay
from serving.client.lanes import Lanes

TRIES = 3

_RETRIES_PER_CALL = 0.1
_HEDGES_PER_CALL = 0.05
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 1.0

# What another try may mend. RESOURCE_EXHAUSTED only if the server says when.
_RETRIED = (StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.RESOURCE_EXHAUSTED)
# What says that a lane is of no use for now.
_TIRED = (StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Send:
    """Send the message on the lane; if ``alone``, go on when the try has ended, otherwise at once."""

    lane: int
    within_s: float
    alone: bool


@dataclass(frozen=True, slots=True)
class Listen:
    """Go on when one of the tries has ended, or with None when the time is over."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Go on after a while."""

    for_s: float


# What to do next, given how a try ended; at the end, how the call ended. Tries that still run then are to be cancelled.
Course = Generator[Send | Listen | Sleep, Ended | None, Ended]


class Dispatch:
    """What a client knows across its calls; for any number of threads."""

    def __init__(
        self,
        lanes: int,
        *,
        tries: int = TRIES,
        hedge_after_s: HedgeAfter | None = None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if lanes < 1:
            raise ConfigError("there is no address to call; give one or more")
        if tries < 1:
            raise ConfigError(f"tries is {tries}; give 1 to send each call once, or more")
        self.closed = False
        self._tries = tries
        self._lanes = Lanes(lanes, clock)
        self._delay = hedge_delay(hedge_after_s, lanes)
        self._retries = Allowance(_RETRIES_PER_CALL)
        self._hedges = Allowance(_HEDGES_PER_CALL)
        self._clock = clock
        self._draw = draw

    def course(self, deadline_s: float | None, *, once: bool = False, hedged: bool = False) -> Course:
        """Lead a call to its end, all of it within the deadline (None: for ever)."""
        began = self._clock()
        end = math.inf if deadline_s is None else began + deadline_s
        tries = 1 if once else self._tries
        delay = self._delay if hedged else None
        avoid: set[int] = set()
        ended = Ended(lane=0, code=StatusCode.CANCELLED, details=CLOSED)
        for tried in range(1, tries + 1):
            if self.closed:
                return ended
            ended = yield from (self._alone(end, avoid) if delay is None else self._race(end, avoid, delay))
            if ended.answered:
                self._retries.earn()
                self._hedges.earn()
                if delay is not None:
                    delay.saw(self._clock() - began)
                return ended
            wait_s = self._wait_s(ended, tried)
            # A wait that nothing can follow would only keep the caller from doing without.
            if tried == tries or wait_s is None or wait_s >= end - self._clock() or not self._retries.spend():
                return ended
            yield Sleep(wait_s)
        return ended

    def _alone(self, end: float, avoid: set[int]) -> Course:
        lane = self._lanes.take(avoid)
        avoid.add(lane)
        ended = None
        try:
            ended = yield Send(lane, end - self._clock(), alone=True)
            assert ended is not None  # noqa: S101 - it was alone
            return ended
        finally:
            self._lanes.give_back(lane, failed=None if ended is None else ended.code in _TIRED)

    def _race(self, end: float, avoid: set[int], delay: HedgeDelay) -> Course:
        running: set[int] = set()
        delay_s = delay.seconds()
        try:
            yield self._sent(end, avoid, running)
            ended = yield Listen(min(end - self._clock(), math.inf if delay_s is None else delay_s))
            if ended is None and delay_s is not None and self._clock() < end and self._hedges.spend():
                yield self._sent(end, avoid, running)
            while True:
                if ended is not None:
                    running.remove(ended.lane)
                    self._lanes.give_back(ended.lane, failed=ended.code in _TIRED)
                    if not running or ended.code not in _RETRIED:
                        return ended
                elif self._clock() >= end:
                    return self._late(running)
                ended = yield Listen(end - self._clock())
        finally:
            for lane in running:
                self._lanes.give_back(lane, failed=None)

    def _sent(self, end: float, avoid: set[int], running: set[int]) -> Send:
        lane = self._lanes.take(avoid, besides=running)
        avoid.add(lane)
        running.add(lane)
        return Send(lane, end - self._clock(), alone=False)

    def _late(self, running: set[int]) -> Ended:
        while running:
            lane = running.pop()
            self._lanes.give_back(lane, failed=True)
        return Ended(lane=lane, code=StatusCode.DEADLINE_EXCEEDED)

    def _wait_s(self, ended: Ended, tried: int) -> float | None:
        """Return how long to wait before the next try; None is not to try again."""
        if ended.code not in _RETRIED:
            return None
        if ended.pushback is not None:
            # What is no number means never, as gRPC has it.
            return int(ended.pushback) / 1e3 if ended.pushback.isdecimal() else None
        if ended.code is StatusCode.RESOURCE_EXHAUSTED:
            return None
        return self._draw() * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (tried - 1))
