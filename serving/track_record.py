"""How a loaded bundle has done: how many rankings, how many failures, and how fast."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

# What a request costs beside its candidates, in candidates; as in ``serving.admission``.
_FIXED = 50
_NEWEST = 512


@dataclass(slots=True)
class TrackRecord:
    """Counts since a bundle was loaded, or since it serves, and what its newest rankings cost; for one thread."""

    answered: int = 0
    failed: int = 0
    paces: deque[float] = field(default_factory=lambda: deque(maxlen=_NEWEST))

    def note(self, candidates: int, seconds: float) -> None:
        """Note a ranking that took so long to compute."""
        self.answered += 1
        self.paces.append(seconds / (candidates + _FIXED))

    @property
    def pace(self) -> float:
        """The median seconds that a candidate cost of late; 0 before the first.

        The median, because the answers just after a swap share the cores with what the swap leaves to be done.
        """
        return statistics.median(list(self.paces)) if self.paces else 0.0
