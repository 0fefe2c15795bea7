"""Observes rankings: the one call of the request's path, so everything in it is looked up beforehand."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from recsys.schema import Ranking
from serving.telemetry.metrics import Metrics
from serving.telemetry.slow import SlowLog
from serving.telemetry.tracing import Tracing

FULL = "full"
# What is not spent in a stage: translating both ways, and waiting for the event loop.
WIRE = "wire"


class Answers:
    """Counts what rankings say of themselves; for the event loop's thread."""

    def __init__(self, metrics: Metrics, slow: SlowLog, tracing: Tracing | None) -> None:
        self._metrics = metrics
        self._slow = slow
        self._tracing = tracing
        self._stages: dict[str, Histogram] = {}
        self._rungs: dict[tuple[str, ...], tuple[Histogram, tuple[Counter, ...]]] = {}

    def ranked(self, ranking: Ranking, *, candidates: int, seconds: float) -> None:
        """Observe an answer to so many candidates; ``seconds`` are those of the whole call."""
        metrics, stages = self._metrics, dict(ranking.stage_seconds)
        stages[WIRE] = max(0.0, seconds - sum(stages.values()))
        for stage, spent in stages.items():
            (self._stages.get(stage) or self._stage(stage)).observe(spent)
        in_rung, degraded = self._rungs.get(ranking.degraded) or self._rung(ranking.degraded)
        in_rung.observe(seconds)
        for each in degraded:
            each.inc()
        metrics.candidates.observe(candidates)
        metrics.text_coverage.observe(ranking.text_coverage)
        if ranking.unknown_items:
            metrics.unknown_items.inc(len(ranking.unknown_items))
        if ranking.items_without_text:
            metrics.unread_items.inc(len(ranking.items_without_text))
        if ranking.unknown_user:
            metrics.unknown_users.inc()
        if ranking.variant:
            metrics.variants.labels(ranking.variant).inc()
        if ranking.items:
            metrics.top_score.observe(ranking.items[0].score)
            metrics.click_probability.observe(ranking.items[0].click_probability)
        if seconds >= self._slow.limit_s:
            metrics.slow.inc()
            self._slow.tell(ranking, stages, candidates=candidates, seconds=seconds)
        if self._tracing is not None:
            self._tracing.stages(ranking, stages, candidates=candidates)

    def _stage(self, stage: str) -> Histogram:
        self._stages[stage] = self._metrics.stage_seconds.labels(stage)
        return self._stages[stage]

    def _rung(self, reasons: tuple[str, ...]) -> tuple[Histogram, tuple[Counter, ...]]:
        rung = self._metrics.rank_seconds.labels("+".join(reasons) or FULL)
        self._rungs[reasons] = rung, tuple(self._metrics.degraded.labels(reason) for reason in reasons)
        return self._rungs[reasons]
