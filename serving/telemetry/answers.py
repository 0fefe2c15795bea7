"""Observes rankings: the one call of the request's path, so everything in it is looked up beforehand."""

from __future__ import annotations

from dataclasses import replace

from recsys.schema import Ranking, Rung
from serving.telemetry.histogram import Series
from serving.telemetry.metrics import Metrics
from serving.telemetry.slow import SlowLog
from serving.telemetry.tracing import Tracing

# What is not spent in a stage: translating both ways, and waiting for the event loop.
WIRE = "wire"


class Answers:
    """Counts what rankings say of themselves; for the event loop's thread."""

    def __init__(self, metrics: Metrics, slow: SlowLog, tracing: Tracing | None) -> None:
        self._metrics = metrics
        self._slow = slow
        self._tracing = tracing
        self._stages: dict[str, Series] = {}
        self._rungs = {rung: metrics.rank_seconds.labels(rung) for rung in Rung}

    def ranked(self, ranking: Ranking, *, request_id: str, candidates: int, seconds: float) -> None:
        """Observe an answer to so many candidates; ``seconds`` are those of the whole call.

        Logs and traces name the request by ``request_id``, as the line of the call does.
        """
        metrics, stages = self._metrics, dict(ranking.stage_seconds)
        stages[WIRE] = max(0.0, seconds - sum(stages.values()))
        for stage, spent in stages.items():
            (self._stages.get(stage) or self._stage(stage)).observe(spent)
        self._rungs[ranking.rung].observe(seconds)
        self._did_without(ranking)
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
            first = ranking.items[0]
            metrics.top_score.observe(first.score)
            metrics.click_probability.observe(first.click_probability)
        if seconds >= self._slow.limit_s:
            metrics.slow.inc()
            named = replace(ranking, request_id=request_id)
            self._slow.tell(named, stages, candidates=candidates, seconds=seconds)
        if self._tracing is not None:
            self._tracing.stages(replace(ranking, request_id=request_id), stages, candidates=candidates)

    def _did_without(self, ranking: Ranking) -> None:
        if ranking.rung_reason is not None:
            self._metrics.steps_down.labels(ranking.rung, ranking.rung_reason).inc()
        for reason in ranking.degraded:
            self._metrics.degraded.labels(reason).inc()

    def _stage(self, stage: str) -> Series:
        self._stages[stage] = self._metrics.stage_seconds.labels(stage)
        return self._stages[stage]
