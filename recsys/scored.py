"""A request's candidates as the ranker saw them: what the answer, and a receipt of it, are made of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from recsys.receipt import Receipt
from recsys.schema import RankedItems, Ranking, RankRequest, Rung, RungReason

_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One request's N candidates, in its order.

    ``rows`` [N] are those of the catalog, ``table`` [N, C] is what the ranker saw, text outputs first; the ``scores``
    [N] and click ``probabilities`` [N] came of it.

    ``attended_without_text`` are items of the history whose text was not read yet; ``state_versions`` says up to where
    each event log was known, ``item_sequence`` the same of the item log, None where items changed meanwhile;
    ``seconds`` are by stage. ``rung`` says how it was scored, ``reads`` [N] whose texts it asked for, all if None.
    """

    request: RankRequest
    bundle_id: str
    rows: npt.NDArray[np.int32]
    table: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    unknown_user: bool
    attended_without_text: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    state_versions: Mapping[str, int] = field(default_factory=dict)
    item_sequence: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    rung: Rung = Rung.FULL
    rung_reason: RungReason | None = None
    reads: npt.NDArray[np.bool_] | None = None

    def ranking(self, before: Mapping[str, float] = _NOTHING) -> Ranking:
        """Put the candidates into their order, best first; equal scores stand in the order of their ids.

        ``before`` are seconds of stages before those of the ranking itself, such as waiting.
        """
        ids, rows = self.request.item_ids, self.rows
        unread = np.isnan(self.table[:, 0])
        order = best_first(ids, self.scores)[: self.request.top_k or len(ids)]
        without = int(np.count_nonzero(unread))
        asked = unread if self.reads is None else unread & self.reads
        return Ranking(
            request_id=self.request.request_id,
            bundle_id=self.bundle_id,
            items=RankedItems(ids, order, self.scores[order], self.probabilities[order]),
            text_coverage=1.0 - without / len(ids) if ids else 1.0,
            unknown_items=tuple(ids[place] for place in np.flatnonzero(rows < 0).tolist()),
            items_without_text=tuple(ids[place] for place in np.flatnonzero((rows >= 0) & asked).tolist())
            if without
            else (),
            unknown_user=self.unknown_user,
            stage_seconds={**before, **self.seconds},
            degraded=self.degraded,
            state_versions=self.state_versions,
            rung=self.rung,
            rung_reason=self.rung_reason,
        )

    def receipt(self, ranking: Ranking, *, now_us: int) -> Receipt:
        """Say what the ranking was made of; ``now_us`` is when the request came, UTC microseconds."""
        return Receipt(
            request=self.request,
            time_us=now_us,
            bundle_id=self.bundle_id,
            table=self.table,
            scores=self.scores,
            order=tuple(RankedItems.of(ranking.items).item_ids),
            text_coverage=ranking.text_coverage,
            state_versions=ranking.state_versions,
            item_sequence=self.item_sequence,
            items_without_text=ranking.items_without_text,
            attended_without_text=self.attended_without_text,
            degraded=ranking.degraded,
            rung=self.rung,
            rung_reason=self.rung_reason,
        )


def best_first(item_ids: Sequence[str], scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the places [N] of items from the highest score to the lowest, equal ones in the order of their ids."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    equal = np.concatenate([[False], falling[1:] == falling[:-1], [False]])  # to the one before
    if equal.any():
        ends = np.flatnonzero(equal[1:] != equal[:-1])  # of runs: from one that begins to its last
        for begin, last in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True):
            order[begin : last + 1] = sorted(order[begin : last + 1].tolist(), key=item_ids.__getitem__)
    return order


class Stopwatch:
    """Seconds spent per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def stop(self, stage: str) -> None:
        """Book the time since the last stop to a stage, on top of what it had."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._started
        self._started = now
