"""A bundle whose candidates come back as they came: what a ranking costs without lookup, features and models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from recsys.pipeline import RankingPipeline
from recsys.registry import resolve
from recsys.schema import MAX_CANDIDATES, RankRequest, Rung, RungReason
from recsys.scored import Scored

_ROWS = np.zeros(MAX_CANDIDATES, np.int32)
_SCORES = np.linspace(1.0, 0.0, MAX_CANDIDATES)


class WithoutModels(RankingPipeline):
    """Answers at once, in the form of a whole answer; what it says of its stages is nothing."""

    @classmethod
    def serve(cls, registry: Path) -> Self:
        """Load the current bundle, which is asked no golden requests: it would not answer them."""
        model = cls.load(resolve(registry))
        model.manifest = model.manifest.model_copy(update={"golden": ()})
        return model

    def rank_many(
        self, requests: Sequence[RankRequest], rung: Rung = Rung.FULL, reason: RungReason | None = None
    ) -> list[Scored]:
        """Leave the candidates of each in their order."""
        return [self._scored(request, len(request.candidates), rung, reason) for request in requests]

    def _scored(self, request: RankRequest, size: int, rung: Rung, reason: RungReason | None) -> Scored:
        return Scored(
            request=request,
            bundle_id=self.bundle_id,
            rows=_ROWS[:size],
            table=_SCORES[:size, None].astype(np.float32),
            scores=_SCORES[:size],
            probabilities=_SCORES[:size],
            unknown_user=False,
            rung=rung,
            rung_reason=reason,
        )
