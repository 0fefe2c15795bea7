"""How many requests may be in flight, by how their latency grows with them: Netflix's Gradient2.

As in ``Gradient2Limit`` and ``WindowedLimit`` of Netflix/concurrency-limits: each second, the latency of that second is
held against that of the last ten minutes. Where it is up to 1.5 times as long, the limit may grow; beyond, it shrinks
in proportion. It knows nothing of threads, queues or costs, so it holds where the estimates of ``serving.admission``
are wrong. Latencies are per candidate: requests differ in size.
"""

from __future__ import annotations

# How much longer than usual a latency may be.
_TOLERANCE = 1.5
# What may wait, beside what the gradient allows.
_QUEUE = 4
_SMOOTHING = 0.2
# Windows that the usual latency is the mean of, and how many of the first are averaged plainly.
_LONG, _WARM_UP = 600, 10
# Where the usual latency is so many times the newest, it was learned under load, and is forgotten faster.
_STALE, _FORGET = 2.0, 0.95
# A window is over after so many seconds and requests.
_WINDOW_S, _WINDOW = 1.0, 10


class ConcurrencyLimit:
    """A limit between ``least`` and ``most``, which begins at ``first``; for one thread at a time."""

    def __init__(self, *, least: int, most: int, first: int | None = None) -> None:
        self._least, self._most = least, most
        self._limit = float(most if first is None else first)
        self._long = 0.0
        self._windows = 0
        self._began: float | None = None
        self._sum, self._count, self._in_flight = 0.0, 0, 0

    @property
    def value(self) -> int:
        """How many may be in flight."""
        return int(self._limit)

    def saw(self, seconds: float, *, in_flight: int, now: float) -> None:
        """Learn how long a request took, and how many were in flight when it ended, itself among them."""
        if self._began is None:
            self._began = now
        self._sum, self._count, self._in_flight = self._sum + seconds, self._count + 1, max(self._in_flight, in_flight)
        if now - self._began >= _WINDOW_S and self._count >= _WINDOW:
            self.update(self._sum / self._count, in_flight=self._in_flight)
            self._began, self._sum, self._count, self._in_flight = now, 0.0, 0, 0

    def update(self, seconds: float, *, in_flight: int) -> None:
        """Learn the mean latency of a window, and how many were in flight at most."""
        if seconds <= 0:
            return
        self._learn(seconds)
        if self._long / seconds > _STALE:
            self._long *= _FORGET
        if in_flight < self._limit / 2:
            return  # it was not the limit that held anything up
        gradient = max(0.5, min(1.0, _TOLERANCE * self._long / seconds))
        wanted = self._limit * gradient + _QUEUE
        smoothed = self._limit * (1 - _SMOOTHING) + wanted * _SMOOTHING
        self._limit = max(self._least, min(self._most, smoothed))

    def _learn(self, seconds: float) -> None:
        if self._windows < _WARM_UP:
            self._windows += 1
            self._long += (seconds - self._long) / self._windows
        else:
            self._long += (seconds - self._long) * 2 / (_LONG + 1)
