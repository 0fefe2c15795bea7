"""What each rung of service is worth: the same lists ranked with less and less, and what every step down costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.metrics import METRICS, ListMetrics
from recsys.schema import Rung
from training.bootstrap import Figure, intervals

# What each rung does without, in words.
SAYS = {
    Rung.FULL: "everything",
    Rung.BEST_TEXT: "text for the best half by behaviour, 32 at most",
    Rung.CACHED_TEXT: "no text or query of the request itself",
    Rung.BEHAVIOUR: "no text",
    Rung.POPULARITY: "click rates alone, as the server counts them",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFigures:
    """A rung's figures, and how far it is above the first one, paired over lists: below zero is a loss."""

    says: str
    figures: Mapping[str, Figure]
    above_full: Mapping[str, Figure]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and numbers."""
        return {
            "says": self.says,
            **{name: figure.to_json() for name, figure in self.figures.items()},
            "above_full": {name: figure.to_json() for name, figure in self.above_full.items()},
        }


def rung_figures(
    judged: Mapping[Rung, ListMetrics], users: npt.NDArray[np.int64], *, draws: int, seed: int
) -> dict[Rung, RungFigures]:
    """Average every rung, and its difference to the first one, over the same K lists.

    Args:
        judged: what every rung was measured at.
        users: any number that names the user of each list; shape [K].
        draws: of users, for the intervals.
        seed: same seed, same intervals.
    """
    first = judged[Rung.FULL].values
    columns = [found.values[name] for found in judged.values() for name in METRICS]
    columns += [found.values[name] - first[name] for found in judged.values() for name in METRICS]
    found = iter(intervals(np.stack(columns, axis=1), users, draws=draws, seed=seed))
    figures = {rung: {name: next(found) for name in METRICS} for rung in judged}
    above = {rung: {name: next(found) for name in METRICS} for rung in judged}
    return {rung: RungFigures(says=SAYS[rung], figures=figures[rung], above_full=above[rung]) for rung in judged}
