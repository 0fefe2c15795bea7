"""A figure's place among the figures of the same list: rank and z-score, whatever the order of the list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.features.compiled import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Table = npt.NDArray[np.floating]

# Sums run over integers of so many steps to the largest figure, so that their order cannot change a bit.
_STEPS = float(1 << 50)


def ranks(values: Table, offsets: Ints) -> Floats:
    """Return each value's rank in its list: 0 the lowest, 1 the highest, equal ones share their mean; [R, C].

    NaN stays NaN and takes no rank; a value that stands alone has rank 0.5.
    """
    return _ranks(np.ascontiguousarray(values.T, np.float64), offsets).T


def z_scores(values: Table, offsets: Ints) -> Floats:
    """Return how many standard deviations each value lies above its list's mean; 0 where all are equal; [R, C].

    NaN stays NaN and does not count.
    """
    return z_scores_by_column(np.ascontiguousarray(values.T, np.float64), offsets).T


@compiled
def z_scores_by_column(values: Floats, offsets: Ints) -> Floats:
    """Return the z-scores of columns; both [C, R]."""
    scores = np.empty_like(values)
    for column in range(values.shape[0]):
        for number in range(offsets.size - 1):
            first, last = offsets[number], offsets[number + 1]
            mean, spread = _mean_and_spread(values[column, first:last])
            factor = 0.0 if spread <= 1e-9 * (abs(mean) + 1e-9) else 1.0 / spread
            for place in range(first, last):
                scores[column, place] = (values[column, place] - mean) * factor
    return scores


@compiled
def _mean_and_spread(values: Floats) -> tuple[float, float]:
    largest, count = 0.0, 0
    for value in values:
        if not np.isnan(value):
            largest = max(largest, abs(value))
            count += 1
    if count == 0 or largest == 0.0:
        return 0.0, 0.0
    total, scale = 0, _STEPS / largest
    for value in values:
        if not np.isnan(value):
            total += int(np.rint(value * scale))
    mean = total / count / _STEPS * largest
    widest = 0.0
    for value in values:
        if not np.isnan(value):
            widest = max(widest, abs(value - mean))
    if widest == 0.0:
        return mean, 0.0
    total, scale = 0, 1.0 / widest
    for value in values:
        if not np.isnan(value):
            gap = (value - mean) * scale
            total += int(np.rint(gap * gap * _STEPS))
    return mean, widest * np.sqrt(total / count / _STEPS)


@compiled
def _ranks(values: Floats, offsets: Ints) -> Floats:
    found = np.empty_like(values)
    for column in range(values.shape[0]):
        for number in range(offsets.size - 1):
            first, last = offsets[number], offsets[number + 1]
            order = np.argsort(values[column, first:last])
            known = last - first
            while known > 0 and np.isnan(values[column, first + order[known - 1]]):
                known -= 1
                found[column, first + order[known]] = np.nan
            place = 0
            while place < known:
                end = place + 1
                while end < known and values[column, first + order[end]] == values[column, first + order[place]]:
                    end += 1
                for equal in range(place, end):
                    rank = (place + end - 1) / 2 / (known - 1) if known > 1 else 0.5
                    found[column, first + order[equal]] = rank
                place = end
    return found
