"""The figures of every method, and of the differences between some, all on the same lists."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.metrics import METRICS, ListMetrics
from training.bootstrap import Figure, intervals

# The differences worth an interval of their own: what each part of the stack adds.
PAIRS = (
    ("full", "behaviour_only"),
    ("full", "text_only"),
    ("full", "popularity"),
    ("text_only", "cross_encoder"),
)


def paired_figures(
    judged: Mapping[str, ListMetrics],
    users: npt.NDArray[np.int64],
    belongs: npt.NDArray[np.bool_] | None = None,
    *,
    draws: int,
    seed: int,
) -> tuple[dict[str, dict[str, Figure]], dict[str, dict[str, Figure]]]:
    """Average every method, and every pair's difference ("full - popularity"), over the lists that belong.

    Args:
        judged: what every method was measured at, on the same K lists.
        users: any number that names the user of each list; shape [K].
        belongs: which lists to average over; all of them by default; shape [K].
        draws: of users, for the intervals.
        seed: same seed, same intervals.
    """
    chosen = np.ones(len(users), np.bool_) if belongs is None else belongs
    columns = {method: [found.values[name][chosen] for name in METRICS] for method, found in judged.items()}
    for better, worse in PAIRS:
        if better in judged and worse in judged:
            columns[f"{better} - {worse}"] = [a - b for a, b in zip(columns[better], columns[worse], strict=True)]
    values = np.stack([column for group in columns.values() for column in group], axis=1)
    found = iter(intervals(values, users[chosen], draws=draws, seed=seed))
    figures = {group: {name: next(found) for name in METRICS} for group in columns}
    return {m: figures[m] for m in figures if m in judged}, {d: figures[d] for d in figures if d not in judged}
