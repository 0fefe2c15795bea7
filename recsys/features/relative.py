"""A figure's place among the figures of the same list: rank and z-score, whatever the order of the list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.features.feature import Floats, Table, put
from recsys.features.tables import Ints

# Sums run over integers of so many steps to the largest figure, so that their order cannot change a bit.
_STEPS = float(1 << 50)

Columns = npt.NDArray[np.int64]


@compiled
def write_z_scores(table: Table, offsets: Ints, columns: Columns, first: int) -> None:
    """Write how many standard deviations each figure lies above its list's mean, from column ``first`` of [R, C] on.

    0 where all are equal. NaN stays NaN and does not count.
    """
    width = columns.size
    mean, factor = np.empty(width), np.empty(width)
    for number in range(offsets.size - 1):
        begin, end = offsets[number], offsets[number + 1]
        values = np.empty((end - begin, width))
        for row in range(begin, end):
            for place in range(width):
                values[row - begin, place] = table[row, columns[place]]
        _measure(values, mean, factor)
        for row in range(begin, end):
            for place in range(width):
                put(table, row, first + place, (values[row - begin, place] - mean[place]) * factor[place])


@compiled
def write_ranks(table: Table, offsets: Ints, columns: Columns, first: int) -> None:
    """Write each figure's rank in its list, 0 the lowest and 1 the highest, from column ``first`` of [R, C] on.

    Equal ones share their mean. NaN stays NaN and takes no rank; a figure that stands alone has rank 0.5.
    """
    for number in range(offsets.size - 1):
        begin, end = offsets[number], offsets[number + 1]
        for place in range(columns.size):
            _write_ranks(table, begin, end, columns[place], first + place)


@compiled
def _measure(values: Floats, mean: Floats, factor: Floats) -> None:
    """Write the mean of each column of [n, W], and one over its spread; 0 where all figures are equal.

    Every loop runs over the columns, which lie side by side, so that one instruction serves several of them.
    """
    width = mean.size
    lowest, highest, count = np.full(width, np.inf), np.full(width, -np.inf), np.zeros(width, np.int64)
    for row in range(values.shape[0]):
        for place in range(width):
            value = values[row, place]
            lowest[place] = min(lowest[place], value)
            highest[place] = max(highest[place], value)
            count[place] += 0 if np.isnan(value) else 1
    total, scale = np.zeros(width, np.int64), np.zeros(width)
    for place in range(width):
        largest = max(abs(lowest[place]), abs(highest[place]))
        scale[place] = _STEPS / largest if count[place] > 0 and largest > 0 else 0.0
    for row in range(values.shape[0]):
        for place in range(width):
            value = values[row, place]
            total[place] += np.int64(0.0 if np.isnan(value) else np.rint(value * scale[place]))
    for place in range(width):
        mean[place] = total[place] / count[place] / scale[place] if scale[place] > 0 else 0.0
        widest = max(abs(lowest[place] - mean[place]), abs(highest[place] - mean[place]))
        factor[place] = 1.0 / widest if scale[place] > 0 and widest > 0 else 0.0
        total[place] = 0
    for row in range(values.shape[0]):
        for place in range(width):
            gap = (values[row, place] - mean[place]) * factor[place]
            total[place] += np.int64(0.0 if np.isnan(gap) else np.rint(gap * gap * _STEPS))
    for place in range(width):
        if factor[place] > 0:
            spread = np.sqrt(total[place] / count[place] / _STEPS) / factor[place]
            factor[place] = 0.0 if spread <= 1e-9 * (abs(mean[place]) + 1e-9) else 1.0 / spread


@compiled
def _write_ranks(table: Table, begin: int, end: int, column: int, target: int) -> None:
    values = table[begin:end, column].copy()  # side by side
    order, known = _ascending(values)
    for place in range(known, end - begin):
        table[begin + order[place], target] = np.nan
    place = 0
    while place < known:
        after = place + 1
        while after < known and values[order[after]] == values[order[place]]:
            after += 1
        for equal in range(place, after):
            rank = (place + after - 1) / 2 / (known - 1) if known > 1 else 0.5
            put(table, begin + order[equal], target, rank)
        place = after


@compiled
def _ascending(values: npt.NDArray[np.float32]) -> tuple[Columns, int]:
    """Return the places of figures, lowest first and NaN last, and how many are not NaN.

    Sorts numbers whose upper half is as large as the figure and whose lower half is its place: three times as fast as
    sorting places by what stands there.
    """
    bits = values.view(np.uint32)
    keys = np.empty(values.size, np.uint64)
    known = 0
    for place in range(values.size):
        word = np.uint32(0xFFFFFFFF)
        if not np.isnan(values[place]):
            known += 1
            # Floats below zero are larger the further they are from it.
            word = ~bits[place] if bits[place] >> np.uint32(31) else bits[place] | np.uint32(1 << 31)
        keys[place] = np.uint64(word) << np.uint64(32) | np.uint64(place)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64), known
