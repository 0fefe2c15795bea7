"""Chooses the rung of service on which requests are ranked: the best one for which there is time, and capacity.

Time is each request's own: a rung is taken where what is left of the deadline is several times what the pass is
expected to cost. Capacity is everybody's: what is asked per second, at what a rung costs, is a share of what the
threads can do. That share is known for every rung, whichever is in use, so stepping down does not hide the pressure
that it answers to, and nothing flaps: down when the share, or the queue, was too high for a while; up when a better
rung would have had room to spare for a longer while.

Where people are refused for as long, the threads are not all that is short of time: rankings share the cores with
reading, refusing and answering. Then, too, everybody steps down, to the next rung that costs clearly less; not to the
last one, which knows nothing of the user.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recsys.schema import Rung, RungReason
from serving.rung_costs import Load, RungCosts

_RUNGS = tuple(Rung)
# What is asked per second is counted over about so many seconds.
_SPAN_S = 1.0
# Where people are refused: which rung is the lowest, and what another one may cost of the present one, to be worth it.
_LEAST_FOR_MANY, _WORTH = _RUNGS.index(Rung.BEHAVIOUR), 0.9


class Step(NamedTuple):
    """A rung, and why it is not the first."""

    rung: Rung
    reason: RungReason | None = None


FIRST = Step(Rung.FULL)
WITHOUT_TEXT = Step(Rung.BEHAVIOUR, RungReason.FAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to step: ``serving.ladder_settings`` says what each means."""

    margin: float
    down: float
    down_s: float
    up: float
    up_s: float


class Ladder:
    """Says on which rung ``threads`` threads rank; at most ``most_waiting`` requests wait for them; for any thread.

    ``refused_s`` says for how many seconds people have been refused, None where they are not.
    """

    def __init__(
        self, rules: Rules, *, threads: int, most_waiting: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rules, self._threads, self._most_waiting, self._now = rules, threads, most_waiting, now
        self.refused_s: Callable[[], float | None] = lambda: None
        self._costs = RungCosts(now)
        self._asked = Load()  # per second
        self._asked_at = self._looked_at = now()
        self._by_load = 0
        self._stepped_at = -math.inf
        # Which way a step is due, and since when.
        self._leaning: tuple[int, float] | None = None
        self._lock = threading.Lock()

    def asked(self, load: Load) -> None:
        """Count what is asked for."""
        with self._lock:
            self._asked = self._asked_now().plus(load.times(1 / _SPAN_S))
            self._asked_at = self._now()

    def took(self, rung: Rung, load: Load, stages: Mapping[str, float]) -> None:
        """Learn how many seconds a pass over a load took on a rung, by stage."""
        with self._lock:
            self._costs.learn(rung, load, stages)

    def steps(self, asked: Sequence[tuple[Load, float]], *, waiting: int) -> list[Step]:
        """Choose for requests that are ranked together, of each its load and the seconds that it has left.

        Args:
            asked: the requests.
            waiting: how many others wait.
        """
        with self._lock:
            first = self._look(waiting / self._most_waiting)
            load = asked[0][0] if len(asked) == 1 else Load.of_all(load for load, _ in asked)
            least_s = min(left_s for _, left_s in asked) / self._rules.margin
            if first == 0 and self._costs.seconds_on(Rung.FULL, load) <= least_s:
                return [FIRST] * len(asked)
            costs = self._costs.seconds(load)
        return [_step(first, costs, left_s / self._rules.margin) for _, left_s in asked]

    def least_share(self) -> float:
        """Return what the last rung costs of what is done now, 0 to 1: who has time for that need not be refused."""
        with self._lock:
            costs = self._costs.seconds(Load(rows=1.0, best_rows=1.0))
            now, least = costs[self._by_load], costs[-1]
        return min(1.0, least / now) if now else 1.0

    def _look(self, queue: float) -> int:
        """Step up or down by the load, if it is time to; returns the rung's number."""
        now, rules = self._now(), self._rules
        asked, down_s, refused_s = self._asked_now(), rules.down * self._threads, self.refused_s()
        refusing = refused_s is not None and refused_s >= rules.down_s
        calm = queue <= rules.down and not refusing
        if not self._by_load and calm and self._costs.seconds_on(Rung.FULL, asked) <= down_s:
            self._leaning, self._looked_at = None, now
            return 0
        bearable, easy, cheaper = self._bounds(asked, queue)
        if refusing:
            easy = max(easy, min(self._by_load, _LEAST_FOR_MANY))
        here = self._by_load
        if now - self._looked_at >= max(rules.up_s, _SPAN_S):  # nobody asked for anything meanwhile
            self._by_load, self._leaning = 0, None
        elif bearable > here:
            self._lean(1, bearable, rules.down_s)
        elif refusing and cheaper > here and now - self._stepped_at >= rules.down_s:
            self._step_to(cheaper)
        elif easy < here:
            self._lean(-1, easy, rules.up_s)
        else:
            self._leaning = None
        self._looked_at = now
        return self._by_load

    def _bounds(self, asked: Load, queue: float) -> tuple[int, int, int]:
        """Return the numbers of the best rung that bears what is asked, and of the best one with room to spare.

        And that of the next rung that costs clearly less than this one, or this one's.
        """
        shares = [seconds / self._threads for seconds in self._costs.seconds(asked)]
        rules, here, lowest = self._rules, self._by_load, len(_RUNGS) - 1
        bearable = next((number for number, share in enumerate(shares) if share <= rules.down), lowest)
        easy = next((number for number, share in enumerate(shares) if share < rules.up), lowest)
        if queue > rules.down:  # whatever was expected
            bearable = max(bearable, min(here + 1, lowest))
        if queue >= rules.up:
            easy = max(easy, here)
        lower = range(here + 1, _LEAST_FOR_MANY + 1)
        return bearable, easy, next((number for number in lower if shares[number] < _WORTH * shares[here]), here)

    def _lean(self, way: int, goal: int, patience_s: float) -> None:
        now = self._now()
        if self._leaning is None or self._leaning[0] != way:
            self._leaning = way, now
        if now - self._leaning[1] >= patience_s:
            self._step_to(goal)

    def _step_to(self, number: int) -> None:
        self._by_load, self._leaning, self._stepped_at = number, None, self._now()

    def _asked_now(self) -> Load:
        return self._asked.times(math.exp((self._asked_at - self._now()) / _SPAN_S))


def _step(first: int, costs: Sequence[float], left_s: float) -> Step:
    """Take the best rung from ``first`` on that fits into a time, or the last one."""
    number = next((number for number in range(first, len(_RUNGS)) if costs[number] <= left_s), len(_RUNGS) - 1)
    if number == 0:
        return FIRST
    return Step(_RUNGS[number], RungReason.LOAD if number == first else RungReason.DEADLINE)
