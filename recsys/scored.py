"""A request's candidates as the ranker saw them: what the answer, and a receipt of it, are made of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features import Context
from recsys.receipt import Receipt
from recsys.schema import NO_STATE, RankedItem, Ranking, RankRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """N candidates: the ranker's table [N, C], text outputs first; scores and click probabilities [N].

    ``attended_without_text`` are items of the history whose text was not read yet; ``seconds`` are by stage.
    """

    request: RankRequest
    bundle_id: str
    seen: Context
    table: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    attended_without_text: tuple[str, ...]
    unknown_user: bool
    seconds: Mapping[str, float]

    def ranking(self) -> Ranking:
        """Put the candidates into their order, best first; equal scores stand in the order of their ids."""
        request, rows = self.request, self.seen.lists.item_rows
        scores, probabilities = self.scores, self.probabilities
        unread = np.isnan(self.table[:, 0])
        ids = [candidate.item_id for candidate in request.candidates]
        order = best_first(ids, scores)
        return Ranking(
            request_id=request.request_id,
            bundle_id=self.bundle_id,
            items=tuple(
                RankedItem(item_id=ids[i], score=float(scores[i]), click_probability=float(probabilities[i]))
                for i in order[: request.top_k or len(order)]
            ),
            text_coverage=float(np.mean(~unread)) if ids else 1.0,
            unknown_items=tuple(ids[place] for place in np.flatnonzero(rows < 0)),
            items_without_text=tuple(ids[place] for place in np.flatnonzero((rows >= 0) & unread)),
            unknown_user=self.unknown_user,
            stage_seconds=self.seconds,
            degraded=(NO_STATE,) if self.seen.missing else (),
            state_versions=self.seen.versions,
        )

    def receipt(self, ranking: Ranking, *, now_us: int, item_sequence: int | None) -> Receipt:
        """Say what the ranking was made of; ``now_us`` is when the request came, UTC microseconds."""
        return Receipt(
            request=self.request,
            time_us=now_us,
            bundle_id=self.bundle_id,
            table=self.table,
            scores=self.scores,
            order=tuple(item.item_id for item in ranking.items),
            text_coverage=ranking.text_coverage,
            state_versions=ranking.state_versions,
            item_sequence=item_sequence,
            items_without_text=ranking.items_without_text,
            attended_without_text=self.attended_without_text,
            degraded=ranking.degraded,
        )


def best_first(item_ids: Sequence[str], scores: npt.NDArray[np.float64]) -> list[int]:
    """Return the places of items from the highest score to the lowest, equal ones in the order of their ids."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    if (falling[1:] == falling[:-1]).any():
        return sorted(range(len(item_ids)), key=lambda place: (-scores[place], item_ids[place]))
    best: list[int] = order.tolist()
    return best


class Stopwatch:
    """Seconds spent per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def stop(self, stage: str) -> None:
        """Book the time since the last stop to a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._started
        self._started = now
