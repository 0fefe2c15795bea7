"""The last minutes of one method's calls: how many, how they ended, and how long they took."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 300
_SLOT_S = 10
_LATENCIES = 2_048

# The server's fault; everything else that is not OK is a refusal, or the caller's own doing.
FAILED = frozenset({"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentCalls:
    """Calls of the last five minutes, and the seconds that half and 99 % of the newest 2,048 took at most.

    ``failed`` is the server's fault, ``refused`` is not: a request that cannot be answered, or too many at once. The
    seconds are NaN before the first call.
    """

    method: str
    calls: int
    failed: int
    refused: int
    p50_s: float
    p99_s: float


class Recent:
    """Memory of one method's calls that does not grow; ``add`` for one thread at a time, ``now`` for any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When a slot began, in slots, and its calls, failed and refused.
        self._slots: deque[list[int]] = deque([[-1, 0, 0, 0]], maxlen=WINDOW_S // _SLOT_S)
        self._seconds: deque[float] = deque(maxlen=_LATENCIES)

    def add(self, code: str, seconds: float) -> None:
        """Note a call that has ended."""
        began = int(self._clock()) // _SLOT_S
        slot = self._slots[-1]
        if slot[0] != began:
            slot = [began, 0, 0, 0]
            self._slots.append(slot)
        slot[1] += 1
        if code != "OK":
            slot[2 if code in FAILED else 3] += 1
        self._seconds.append(seconds)

    def now(self, method: str) -> RecentCalls:
        """Sum up."""
        oldest = int(self._clock()) // _SLOT_S - WINDOW_S // _SLOT_S
        slots = [slot for slot in list(self._slots) if slot[0] > oldest]
        seconds = sorted(self._seconds)
        return RecentCalls(
            method=method,
            calls=sum(slot[1] for slot in slots),
            failed=sum(slot[2] for slot in slots),
            refused=sum(slot[3] for slot in slots),
            p50_s=_quantile(seconds, 0.5),
            p99_s=_quantile(seconds, 0.99),
        )


def _quantile(ordered: list[float], share: float) -> float:
    """Return the smallest value that this share does not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.nan
