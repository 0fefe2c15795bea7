"""Who is let in to be ranked: a request that could not be answered in time is refused at once, and told when to return.

The queue is bounded in length and in time: what waits, and what the request itself costs, is estimated from how long
rankings took of late, in candidates. A server without a queue that can grow has no answers that come too late (Google,
"Site Reliability Engineering", chapter 21). A burst may fill the queue, as long as its callers can wait; where it
stands, so that many were refused of late, it is kept just long enough to leave no thread idle (after CoDel, as Facebook
uses it: "Fail at Scale", ACM Queue 2015). Requests of lower priority find the queue full earlier, do not make it stand
for higher ones, and are not let in while those are refused. A limit on what is in flight, which follows the latency
(``serving.concurrency_limit``), stands behind all of it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NoReturn, Self

from recsys.errors import Overloaded, TooLate
from serving.concurrency_limit import ConcurrencyLimit
from serving.config import ServerConfig
from serving.refusals import Reason, Refusals
from serving.yielding import LEAST_S, SHARES, Yielding

# What a request costs beside its candidates, in candidates.
_FIXED = 50
# How much the newest ranking says about the next one.
_NEWEST = 0.05
_SOONEST_S = 0.01
# How long a burst may make the queue: rankings, or where those are short, a share of the time that a caller allows, and
# seconds at most.
_BURST, _BURST_SHARE, _BURST_S = 12, 0.2, 0.2
# How long the queue is kept where it stands: rankings, or seconds where those are short.
_KEPT, _KEPT_S = 6, 0.01
# It stands for a priority of which a larger share was refused of late; and how much the newest request says about that.
# Idle moments would say less: where the queue is short and the event loop busy, threads are idle now and then.
_STANDING, _REFUSED_NEWEST = 0.15, 1 / 64
# For so long a priority counts as asking after a request was looked at.
_ASKS_S = 1.0

_SAYS = {
    Reason.QUEUE: "too many requests wait",
    Reason.STANDING: "more is asked than can be answered",
    Reason.DEADLINE: "the answer would come after the deadline",
    Reason.LIMIT: "answers take longer the more of them are made at once",
}


# The limit on what is in flight never falls below this, for each thread: it stands behind the queue, not in its place.
_LEAST_IN_FLIGHT = 20


class Place:
    """A request that was let in, for as long as its ``with`` block runs.

    ``begin`` is called by the thread that computes it, and by nobody else.
    """

    __slots__ = ("_admission", "_ends", "entered", "priority", "work")

    def __init__(self, admission: Admission, work: int, left_s: float, priority: str) -> None:
        self._admission = admission
        self.priority = priority
        self.entered = admission.now()
        self._ends = self.entered + left_s
        self.work = work

    @property
    def left_s(self) -> float:
        """How many seconds there are until nobody waits for the answer any more."""
        return self._ends - self._admission.now()

    def begin(self) -> None:
        """Leave the queue.

        Raises:
            TooLate: nobody waits for the answer any more.
        """
        now = self._admission.now()
        self._admission.leave_queue(self)
        if now >= self._ends:
            raise TooLate("the request waited for longer than its deadline; allow more time, or ask for less")

    def __enter__(self) -> Self:
        """Keep it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give it up."""
        self._admission.give_up(self)


class Admission:
    """Lets rankings in; ``threads`` compute them, ``most_waiting`` wait at most; for any thread.

    A request without a deadline gets ``default_s``, and none more than ``most_s``. ``refusals`` is told whom it
    refused; where it ``sheds`` not, that is nobody.
    """

    def __init__(
        self,
        *,
        threads: int,
        most_waiting: int,
        default_s: float,
        most_s: float,
        sheds: bool = True,
        limit: ConcurrencyLimit | None = None,
        refusals: Refusals | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self.limit = limit
        self.refusals = refusals or Refusals()
        # What the cheapest ranking costs of a usual one, 0 to 1.
        self.least_share: Callable[[], float] = lambda: 1.0
        self.threads = threads
        self._most_waiting = most_waiting
        self._default_s, self._most_s = default_s, most_s
        self._sheds = sheds
        self._waiting: set[Place] = set()
        self._waiting_work = 0
        self._in_flight = dict.fromkeys(SHARES, 0)
        self._refused = dict.fromkeys(SHARES, 0.0)  # the share of late
        self._knocked_at = dict.fromkeys(SHARES, -math.inf)
        self._yielding = Yielding()
        self.ranked_s = 0.0  # of all threads
        self._seconds = 0.0  # of late, for a candidate
        self._work = 0.0  # of late, of a request
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """How many wait or are computed."""
        return sum(self._in_flight.values())

    def people_refused_s(self) -> float | None:
        """Return for how many seconds callers of the highest priority have been refused, deadlines apart.

        Never half a second apart; None where nobody was for so long.
        """
        # Without the lock: the ladder asks, and is asked under it.
        return self._yielding.people_refused_s(self.now())

    def time_left(self, told_s: float | None) -> float:
        """Return how many seconds a request has, whose caller allows ``told_s``; None where it says nothing."""
        return min(self._default_s if told_s is None else told_s, self._most_s)

    def knock(self, left_s: float, priority: str) -> None:
        """Refuse a request that nobody has read yet, if one of usual size would be.

        Raises:
            Overloaded: as ``admitted``.
        """
        with self._lock:
            self._knocked_at[priority] = self.now()
            self._check(self._work, left_s, priority)
            if not self._yielding.has_turn(priority, self.now()):
                self._refuse(Reason.STANDING, LEAST_S)

    def dropping(self, calls: int) -> None:
        """Note that so many are being dropped before anybody sees who asks: the highest of those who asked of late."""
        with self._lock:
            now = self.now()
            asking = [priority for priority in SHARES if now - self._knocked_at[priority] <= _ASKS_S]
            if asking:
                self._note_refused(asking[0], now, calls)

    def admitted(self, candidates: int, left_s: float, priority: str) -> Place:
        """Take a place in the queue, to be given up: use it in a ``with`` block.

        Raises:
            Overloaded: the queue is full for this priority, or the answer would come too late; says when to try again.
        """
        place = Place(self, candidates + _FIXED, left_s, priority)
        with self._lock:
            self._check(place.work, left_s, priority)
            self._work += _NEWEST * (place.work - self._work) if self._work else place.work
            self._refused[priority] -= _REFUSED_NEWEST * self._refused[priority]
            self._in_flight[priority] += 1
            self._waiting.add(place)
            self._waiting_work += place.work
            self._yielding.let_in(priority)
        return place

    def give_up(self, place: Place) -> None:
        """Note that nobody waits for a place's answer any more, or that it was given."""
        with self._lock:
            self._leave(place)
            self._in_flight[place.priority] -= 1

    def leave_queue(self, place: Place) -> None:
        """Note that a place is computed from now on."""
        with self._lock:
            self._leave(place)

    def took(self, place: Place, seconds: float) -> None:
        """Learn how long a ranking took to compute, and from when on it was in flight."""
        each = seconds / place.work
        with self._lock:
            self.ranked_s += seconds
            self._seconds += _NEWEST * (each - self._seconds) if self._seconds else each
            if self.limit is not None:
                now = self.now()
                self.limit.saw((now - place.entered) / place.work, in_flight=self.in_flight, now=now)

    def _leave(self, place: Place) -> None:
        if place in self._waiting:
            self._waiting.discard(place)
            self._waiting_work -= place.work

    def _check(self, work: float, left_s: float, priority: str) -> None:
        if not self._sheds:
            return
        now = self.now()
        if not self._yielding.lately(priority, now):
            # Too much is asked at every moment, or not at all; bursts alone would keep the queue short for each other.
            self._refused[priority] = 0.0
        wait_s = self._seconds * self._waiting_work / self.threads
        yields_s = self._yielding.left_s(priority, now)
        if yields_s > 0:
            self._refuse(Reason.STANDING, max(wait_s, yields_s, _SOONEST_S))
        # Somebody always has to be let in, or one slow ranking would shut the door for ever.
        reason = None if self.in_flight < self.threads else self._full(work, wait_s, left_s, priority)
        if reason is None:
            return
        if reason is not Reason.DEADLINE:  # that may be one caller who asks for the impossible
            self._note_refused(priority, now)
        self._refuse(reason, max(wait_s, _SOONEST_S))

    def _refuse(self, reason: Reason, after_s: float) -> NoReturn:
        self.refusals.add(reason)
        raise Overloaded(f"{_SAYS[reason]}; try again later, or elsewhere", after_s=after_s)

    def _note_refused(self, priority: str, now: float, times: int = 1) -> None:
        self._refused[priority] = 1 - (1 - self._refused[priority]) * (1 - _REFUSED_NEWEST) ** times
        self._yielding.note(priority, now)

    def _full(self, work: float, wait_s: float, left_s: float, priority: str) -> Reason | None:
        """Say why there is no place for a request that would wait for so long; None where there is one."""
        share, cost_s = SHARES[priority], self._seconds * work
        standing = self._refused[priority] > _STANDING
        kept, kept_s = (_KEPT, _KEPT_S) if standing else (_BURST, min(_BURST_S, _BURST_SHARE * left_s))
        if len(self._waiting) >= share * self._most_waiting:
            return Reason.QUEUE
        if wait_s + cost_s > left_s and wait_s + cost_s * self.least_share() > left_s:
            return Reason.DEADLINE
        if self._waiting_work > share * kept * work and wait_s > share * kept_s:
            return Reason.STANDING
        if self.limit is not None and self.in_flight - self.threads >= share * (self.limit.value - self.threads):
            return Reason.LIMIT
        return None


def admission_by(config: ServerConfig) -> Admission:
    """Set up what a server's settings ask for."""
    most = config.threads + config.most_waiting
    return Admission(
        threads=config.threads,
        most_waiting=config.most_waiting,
        default_s=config.default_deadline_s,
        most_s=config.most_deadline_s,
        limit=ConcurrencyLimit(least=min(_LEAST_IN_FLIGHT * config.threads, most), most=most),
        sheds=config.sheds,
    )
