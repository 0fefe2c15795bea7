"""How old what rankings know is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class StateAge:
    """Seconds since a state last learned something; until it does, since the newest event that it came with.

    ``versions`` are asked for, because other servers may learn into a shared state; what only they tell is noticed
    when the age is next looked at.
    """

    def __init__(
        self, versions: Callable[[], Mapping[str, int]], newest_us: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._versions, self._clock = versions, clock
        self._known = dict(versions())
        self._newest_s = newest_us / 1e6

    def look(self) -> float:
        """Return the age in seconds."""
        now, versions = self._clock(), self._versions()
        if versions != self._known:
            self._known, self._newest_s = dict(versions), now
        return max(0.0, now - self._newest_s)
