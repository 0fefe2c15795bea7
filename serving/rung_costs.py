"""What rankings cost on each rung of service, learned stage by stage: a rung is known before it is ever used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

from recsys.rungs import best_count
from recsys.schema import RankRequest, Rung

# What a request costs beside its candidates, in candidates; as in ``serving.admission``.
_FIXED = 50
# How much the newest pass says about the next one.
_NEWEST = 0.1
# After so many seconds a figure that was not seen again counts half. What was slow once must be tried again some time:
# on the lower rungs nobody finds out that the text model is quick again.
_HALF_LIFE_S = 30.0


class Load(NamedTuple):
    """What is to be done for some requests, counted: rows scored and texts read, for all candidates or the best.

    Rows count what every request costs beside its candidates.
    """

    rows: float = 0.0
    best_rows: float = 0.0
    texts: float = 0.0
    best_texts: float = 0.0

    @classmethod
    def of(cls, request: RankRequest) -> Self:
        """Count what one request asks for; a query is a text."""
        candidates, query = len(request.candidates), bool(request.query)
        texts, best = len(request.texts), best_count(candidates)
        return cls(candidates + _FIXED, best + _FIXED, texts + query, min(texts, best) + query)

    @classmethod
    def of_all(cls, loads: Iterable[Load]) -> Self:
        """Add loads up."""
        return cls(*map(sum, zip(cls(), *loads, strict=True)))

    def plus(self, other: Load) -> Load:
        """Return both together."""
        rows, best_rows, texts, best_texts = self
        return Load(rows + other[0], best_rows + other[1], texts + other[2], best_texts + other[3])

    def times(self, factor: float) -> Load:
        """Return so many times as much."""
        rows, best_rows, texts, best_texts = self
        return Load(rows * factor, best_rows * factor, texts * factor, best_texts * factor)


# What each stage works through on a rung; ``recsys.pipeline`` names them: "ranker" and "behaviour" are the trees
# of the one and of the other. The last rung looks rates up and computes no features: a stage of its own.
_RATES = "rates"
_ROWS, _BEST_ROWS, _TEXTS, _BEST_TEXTS = range(len(Load._fields))
_DONE: dict[Rung, dict[str, int]] = {
    Rung.FULL: {"features": _ROWS, "reading": _TEXTS, "text": _ROWS, "ranker": _ROWS},
    Rung.BEST_TEXT: {
        "features": _ROWS, "behaviour": _ROWS, "reading": _BEST_TEXTS, "text": _BEST_ROWS, "ranker": _BEST_ROWS,
    },
    Rung.CACHED_TEXT: {"features": _ROWS, "text": _ROWS, "ranker": _ROWS},
    Rung.BEHAVIOUR: {"features": _ROWS, "behaviour": _ROWS},
    Rung.POPULARITY: {_RATES: _ROWS},
}  # fmt: skip
# What a stage is taken to cost before it was ever seen: another one's seconds, which are no less.
_AT_MOST = {_RATES: "features", "behaviour": "ranker"}


class RungCosts:
    """Learns how many seconds a stage takes for one row or text; for one thread at a time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._learned: dict[str, tuple[float, float]] = {}  # seconds, and when they were seen last

    def learn(self, rung: Rung, load: Load, stages: Mapping[str, float]) -> None:
        """Take note of the seconds of a pass over a load, by stage."""
        if rung is Rung.POPULARITY:
            stages = {_RATES: stages.get("features", 0.0)}
        now = self._now()
        for stage, counted in _DONE[rung].items():
            if load[counted] and stage in stages:
                each = stages[stage] / load[counted]
                before, seen = self._learned.get(stage, (each, now))
                weight = max(_NEWEST, 1 - _faded(now - seen))
                self._learned[stage] = before + weight * (each - before), now

    def seconds(self, load: Load) -> list[float]:
        """Return how long a pass over a load is expected to take on each rung; what nobody knows costs nothing."""
        return [self.seconds_on(rung, load) for rung in _DONE]

    def seconds_on(self, rung: Rung, load: Load) -> float:
        """Return how long a pass over a load is expected to take on one rung."""
        now, learned, seconds = self._now(), self._learned, 0.0
        for stage, counted in _DONE[rung].items():  # for every ranking, so without a function for each stage
            known = learned.get(stage) or learned.get(_AT_MOST.get(stage, ""))
            if known and load[counted]:
                seconds += load[counted] * known[0] * _faded(now - known[1])
        return seconds


def _faded(age_s: float) -> float:
    """Return what a figure of some age still counts, 1 to 0."""
    return math.exp2(-age_s / _HALF_LIFE_S)
