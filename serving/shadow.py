"""A bundle that ranks a share of the requests too, for nobody's sake but comparison, and only where nobody waits."""

from __future__ import annotations

import math
import queue
import statistics
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from recsys.receipt import chosen
from recsys.schema import Ranking, RankRequest
from serving.loaded import Loaded
from serving.logging import frames_of
from serving.order_shift import TOP, Shift, shift_of, whole

# What waits is forgotten where it would get old: a shadow is behind by no more than these.
_WAITING = 4
_NEWEST = 512

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """What a shadow has found: counts, means over all comparisons, and medians of the newest computing times.

    Means and medians are NaN before the first comparison.
    """

    bundle_id: str
    share: float
    ranked: int
    dropped: int
    failed: int
    top_overlap: float
    kendall_tau: float
    p50_s: float
    answer_p50_s: float


class Shadow:
    """One thread that has a bundle rank what another one has answered, one request after the other.

    It takes a ``share`` of the requests, by request id, and only while there is ``spare`` capacity, which is asked for
    when a request comes and again when its turn has come; the others are ``dropped``. ``found`` is told of each
    comparison, and the seconds that it took to rank, in the shadow's thread. ``overlaps`` are those of the newest
    comparisons of more than ten candidates.
    """

    def __init__(
        self,
        loaded: Loaded,
        share: float,
        spare: Callable[[], bool],
        found: Callable[[Shift, float], None] = lambda *_: None,
    ) -> None:
        self.loaded, self.share = loaded, share
        self.ranked = self.dropped = self.failed = 0
        self.overlaps: deque[float] = deque(maxlen=_NEWEST)
        self._spare, self._found = spare, found
        self._sum_overlap = self._sum_tau = 0.0
        self._seconds: deque[tuple[float, float]] = deque(maxlen=_NEWEST)
        self._queue: queue.Queue[tuple[RankRequest, Ranking, float] | None] = queue.Queue(_WAITING)
        self._closed = False
        threading.Thread(target=self._run, name="shadow", daemon=True).start()

    def offer(self, request: RankRequest, ranking: Ranking, seconds: float) -> None:
        """Have a request that was answered ranked too, if it is among the share; returns at once."""
        if not chosen(request.request_id, self.share):
            return
        if not self._spare():
            self.dropped += 1
            return
        try:
            self._queue.put_nowait((request, ranking, seconds))
        except queue.Full:
            self.dropped += 1

    def report(self) -> ShadowReport:
        """Sum up."""
        count, seconds = self.ranked, list(self._seconds)
        return ShadowReport(
            bundle_id=self.loaded.bundle_id,
            share=self.share,
            ranked=count,
            dropped=self.dropped,
            failed=self.failed,
            top_overlap=self._sum_overlap / count if count else math.nan,
            kendall_tau=self._sum_tau / count if count else math.nan,
            p50_s=statistics.median(own for own, _ in seconds) if seconds else math.nan,
            answer_p50_s=statistics.median(theirs for _, theirs in seconds) if seconds else math.nan,
        )

    def close(self) -> None:
        """End after the request that is being ranked, which is not waited for; what waits is left out."""
        self._closed = True
        with suppress(queue.Full):  # the thread looks at every turn whether it is to end
            self._queue.put_nowait(None)

    def _run(self) -> None:
        while (offered := self._queue.get()) is not None and not self._closed:
            if not self._spare():
                self.dropped += 1
                continue
            try:
                self._compare(*offered)
            except Exception as error:  # noqa: BLE001 - nobody waits for it, and it is counted
                self.failed += 1
                _log.error("shadow failed", bundle_id=self.loaded.bundle_id, frames=frames_of(error))

    def _compare(self, request: RankRequest, ranking: Ranking, seconds: float) -> None:
        own = self.loaded.model.rank(whole(request))
        shift, took = shift_of(ranking, own), sum(own.stage_seconds.values())
        self._sum_overlap += shift.top_overlap
        self._sum_tau += shift.kendall_tau
        self._seconds.append((took, seconds))
        if len(request.candidates) > TOP:
            self.overlaps.append(shift.top_overlap)
        self.ranked += 1
        self._found(shift, took)
