"""One warning a slow ranking, few a second: what it was and where its time went."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import structlog

from recsys.schema import Ranking

_PER_SECOND = 5

_log = structlog.get_logger()


class SlowLog:
    """Warns of rankings that took ``limit_s`` or longer, ``per_second`` times a second at most.

    The next line tells how many were left out before it.
    """

    def __init__(
        self, limit_s: float, *, per_second: int = _PER_SECOND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_s = limit_s
        self._per_second = per_second
        self._clock = clock
        self._second, self._lines, self._left_out = -1, 0, 0

    def tell(self, ranking: Ranking, stages: Mapping[str, float], *, candidates: int, seconds: float) -> None:
        """Warn of one, or count it; for one thread at a time."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines >= self._per_second:
            self._left_out += 1
            return
        self._lines += 1
        left_out, self._left_out = self._left_out, 0
        _log.warning(
            "slow",
            request_id=ranking.request_id,
            bundle_id=ranking.bundle_id,
            candidates=candidates,
            ms=round(seconds * 1e3, 1),
            stages_ms={stage: round(spent * 1e3, 1) for stage, spent in stages.items()},
            rung=ranking.rung,
            degraded=list(ranking.degraded),
            left_out=left_out,
        )
