"""What was refused because there was too much of it: counted by reason, and told in the log once a second.

A line for each would be work that grows with the load which is to be shed.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import structlog

_EVERY_S = 1.0

_log = structlog.get_logger()


class Reason(StrEnum):
    """Why a request was refused."""

    QUEUE = "queue"
    STANDING = "standing"
    DEADLINE = "deadline"
    LIMIT = "limit"
    QUOTA = "quota"
    UNREAD = "unread"  # by gRPC itself, which drops what nobody has time to refuse


class Refusals:
    """Counts refusals; for any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._counts: Counter[Reason] = Counter()
        self._untold: Counter[Reason] = Counter()
        self._told_at = -_EVERY_S

    @property
    def total(self) -> int:
        """How many there were."""
        return self._counts.total()

    def by_reason(self) -> dict[tuple[str, ...], float]:
        """Return how many there were for each reason."""
        return {(str(reason),): self._counts[reason] for reason in Reason}

    def add(self, reason: Reason, times: int = 1) -> None:
        """Count one or several, and write what has come together if it is time."""
        with self._lock:
            self._counts[reason] += times
            self._untold[reason] += times
            now = self._now()
            if now - self._told_at < _EVERY_S:
                return
            self._told_at = now
            untold, self._untold = self._untold, Counter()
        _log.warning("refused", **{str(why): times for why, times in untold.items()})
