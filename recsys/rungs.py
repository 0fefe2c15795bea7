"""How a list is scored on each rung of service: whose texts are read, and what comes of the table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from recsys.calibration import Calibration
from recsys.crew import Crew
from recsys.features import TEXT_COLUMNS, Context
from recsys.features.feature import DIGITS, SMOOTHING
from recsys.features.windows import CLICKS, VIEWS, WINDOW_NAMES
from recsys.ranker import GRID, Ranker
from recsys.schema import Rung
from recsys.scored import best_first

# How many of a list's candidates keep their text where only the best do: half of them, and no more than two blocks of
# the click head (docs/experiments.md has figures).
BEST = 32
_EVER = WINDOW_NAMES.index("ever")

Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Offsets = npt.NDArray[np.int64]


class RungScorer:
    """Scores tables [R, C], whose columns are the ranker's, on any rung; what the rung does without is NaN in them.

    The scores are a function of the rung, the table and the items' ids, so they can be computed again from a receipt.
    Without a calibration of its own the behaviour ranker borrows the full one's: both are grown alike on one log.
    A ``crew`` shares the work of many rows.
    """

    def __init__(
        self,
        ranker: Ranker,
        behaviour_ranker: Ranker,
        calibration: Calibration,
        behaviour_calibration: Calibration | None,
        *,
        crew: Crew | None = None,
    ) -> None:
        self._full, self._alone = ranker, behaviour_ranker
        self._calibration = calibration
        self._alone_calibration = behaviour_calibration or calibration
        self._crew = crew
        self._rate = ranker.names.index("item_rate")

    def alone(self, behaviour: Table) -> Floats:
        """Score rows [R] by their behavioural features [R, F]."""
        return self._alone.predict(np.ascontiguousarray(behaviour), self._crew)

    def rates_only(self, seen: Context) -> Table:
        """Make the table [R, C] of the last rung: the feature ``item_rate``; an unknown item has the rate of all."""
        counts, prior = seen.seen.item[:, _EVER], np.repeat(seen.seen.prior, seen.lists.lengths)
        rates = (counts[:, CLICKS] + SMOOTHING * prior) / (counts[:, VIEWS] + SMOOTHING)
        table = np.full((len(rates), len(self._full.names)), np.nan, np.float32)
        table[:, self._rate] = np.rint(np.nan_to_num(rates) * 10.0**DIGITS) * 0.1**DIGITS  # as ``feature.put``
        return table

    def score(
        self, rung: Rung, table: Table, ids: Sequence[Sequence[str]], offsets: Offsets, alone: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Return the score and the click probability of each row [R].

        Args:
            rung: where the table was made.
            table: the figures [R, C].
            ids: of each list [L], its items'.
            offsets: where each list begins [L + 1].
            alone: what ``alone`` gives for the rows, where that is known already.

        Raises:
            BundleError: a score is not finite.
        """
        if rung is Rung.POPULARITY:
            rates = np.round(table[:, self._rate].astype(np.float64) / GRID) * GRID
            return rates, np.clip(rates, 0.0, 1.0)
        if rung in (Rung.FULL, Rung.CACHED_TEXT):
            scores = self._full.predict(table, self._crew)
            return scores, self._calibration.probability(scores)
        alone = self.alone(table[:, len(TEXT_COLUMNS) :]) if alone is None else alone
        chances = self._alone_calibration.probability(alone)
        if rung is Rung.BEHAVIOUR:
            return alone, chances
        best = best_of(alone, ids, offsets)
        scores = alone.copy()
        scores[best] = self._full.predict(table[best], self._crew)
        chances[best] = self._calibration.probability(scores[best])
        return _others_below(scores, best, offsets), chances


def best_count(candidates: int) -> int:
    """Return how many of so many candidates are the best ones."""
    return min(BEST, -(-candidates // 2))


def best_of(scores: Floats, ids: Sequence[Sequence[str]], offsets: Offsets) -> Bools:
    """Mark the best rows of each list [R]; equal scores go by the items' ids."""
    best = np.zeros(len(scores), np.bool_)
    for names, (begin, end) in zip(ids, pairwise(offsets.tolist()), strict=True):
        best[begin + best_first(names, scores[begin:end])[: best_count(end - begin)]] = True
    return best


def _others_below(scores: Floats, best: Bools, offsets: Offsets) -> Floats:
    """Move the scores of each list's other rows, in one piece, right below those of its best."""
    steps = np.round(scores / GRID)
    for begin, end in pairwise(offsets.tolist()):
        mine, chosen = steps[begin:end], best[begin:end]
        if not chosen.all():
            mine[~chosen] += mine[chosen].min() - mine[~chosen].max() - 1
    return steps * GRID
