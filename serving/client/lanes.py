"""Chooses among several channels: the one with the least to do, in turn, and none that failed a moment ago."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from threading import Lock

_REST_S = 1.0


@dataclass(slots=True)
class _Lane:
    outstanding: int = 0
    failed: bool = False
    rests_until: float = 0.0


class Lanes:
    """Lanes by number, from 0. One that failed rests for a second; then one call tries it, before the others do.

    Without the rest, a server that is gone would draw all calls: nobody is as quick as who refuses.
    """

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        self._lanes = [_Lane() for _ in range(count)]
        self._clock = clock
        self._next = 0
        self._lock = Lock()

    def take(self, avoid: Container[int] = (), *, besides: Container[int] = ()) -> int:
        """Choose a lane for a try, none ``besides``, one of ``avoid`` only for want of better; ``give_back`` it."""
        with self._lock:
            now, count = self._clock(), len(self._lanes)

            def badness(number: int) -> tuple[bool, bool, int, int]:
                lane = self._lanes[number]
                rests = lane.failed and (now < lane.rests_until or lane.outstanding > 0)
                return rests, number in avoid, lane.outstanding, (number - self._next) % count

            chosen = min((number for number in range(count) if number not in besides), key=badness)
            self._next = (chosen + 1) % count
            self._lanes[chosen].outstanding += 1
            return chosen

    def give_back(self, number: int, *, failed: bool | None) -> None:
        """End a try; ``failed`` is None where nobody waited for its end."""
        with self._lock:
            lane = self._lanes[number]
            lane.outstanding -= 1
            if failed is not None:
                lane.failed = failed
                lane.rests_until = self._clock() + _REST_S
