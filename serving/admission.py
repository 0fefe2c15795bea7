"""Who is let in to be ranked: a request that could not be answered in time is refused at once, and told when to return.

The queue is bounded in length and in time: what waits, and what the request itself costs, is estimated from how long
rankings took of late, in candidates. A server without a queue that can grow has no answers that come too late (Google,
"Site Reliability Engineering", chapter 21). Requests of lower priority find the queue full earlier.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from recsys.errors import Overloaded, TooLate

# How much of the queue each priority may fill, of ``serving.access.caller.PRIORITIES``.
SHARES = {"interactive": 1.0, "prefetch": 0.5, "batch": 0.25}
# What a request costs beside its candidates, in candidates.
_FIXED = 50
# How much the newest ranking says about the next one.
_NEWEST = 0.05
_SOONEST_S = 0.01


class Place:
    """A request that was let in; ``begin`` is called by the thread that computes it, and by nobody else."""

    def __init__(self, admission: Admission, work: int, left_s: float) -> None:
        self._admission = admission
        self._ends = admission.now() + left_s
        self.work = work
        self.begun: float | None = None

    def begin(self) -> None:
        """Leave the queue.

        Raises:
            TooLate: nobody waits for the answer any more.
        """
        now = self._admission.now()
        self._admission.leave_queue(self, now)
        if now >= self._ends:
            raise TooLate("the request waited for longer than its deadline; allow more time, or ask for less")


class Admission:
    """Lets rankings in; ``threads`` compute them, ``most_waiting`` wait at most.

    A request without a deadline gets ``default_s``, and none more than ``most_s``.
    """

    def __init__(
        self,
        *,
        threads: int,
        most_waiting: int,
        default_s: float,
        most_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self.refused = 0
        self._threads = threads
        self._most_waiting = most_waiting
        self._default_s, self._most_s = default_s, most_s
        self._waiting: set[Place] = set()
        self._computing = 0
        self._seconds = 0.0  # of late, for a candidate
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def time_left(self, told_s: float | None) -> float:
        """Return how many seconds a request has, whose caller allows ``told_s``; None where it says nothing."""
        return min(self._default_s if told_s is None else told_s, self._most_s)

    @contextmanager
    def admitted(self, candidates: int, left_s: float, priority: str) -> Iterator[Place]:
        """Take a place in the queue for as long as the block runs.

        Raises:
            Overloaded: the queue is full for this priority, or the answer would come too late; says when to try again.
        """
        place = Place(self, candidates + _FIXED, left_s)
        with self._lock:
            wait_s = self._seconds * sum(each.work for each in self._waiting) / self._threads
            self._check(place, wait_s, left_s, priority)
            self._waiting.add(place)
        try:
            yield place
        finally:
            with self._lock:
                self._waiting.discard(place)
                if place.begun is not None:
                    self._computing -= 1

    def leave_queue(self, place: Place, now: float) -> None:
        """Note that a place is computed from now on."""
        with self._lock:
            if place in self._waiting:  # else its caller has gone
                self._waiting.discard(place)
                self._computing += 1
                place.begun = now

    def took(self, place: Place, seconds: float) -> None:
        """Learn how long a ranking took to compute."""
        each = seconds / place.work
        with self._lock:
            self._seconds += _NEWEST * (each - self._seconds) if self._seconds else each

    def _check(self, place: Place, wait_s: float, left_s: float, priority: str) -> None:
        full = len(self._waiting) >= SHARES[priority] * self._most_waiting
        # Somebody always has to be let in, or one slow ranking would shut the door for ever.
        idle = not self._waiting and self._computing < self._threads
        late = wait_s + self._seconds * place.work > left_s and not idle
        if full or late:
            self.refused += 1
            reason = "too many requests wait" if full else "the answer would come after the deadline"
            raise Overloaded(f"{reason}; try again later, or elsewhere", after_s=max(wait_s, _SOONEST_S))
