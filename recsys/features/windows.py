"""Counts over the last minutes to months, as sums of time buckets: constant memory, and exact integers.

A ring holds a key's newest N buckets of one width; which bucket stands where follows from the time alone, so that a
ring depends on the set of its events and not on the order in which they came. The current bucket counts from its
beginning: a window of N buckets reaches back between N - 1 and N widths.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.features.compiled import inlined

SECOND = 1_000_000  # microseconds
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND

# Rings, finest first: the width of a bucket, and how many there are.
_RINGS = ((MINUTE, 5), (5 * MINUTE, 12), (HOUR, 24), (DAY, 30))
WIDTHS = np.array([width for width, _ in _RINGS])
SIZES = np.array([size for _, size in _RINGS])
STARTS = np.array([0, 5, 17, 41])
RINGS = len(_RINGS)
BUCKETS = 71

# Windows, shortest first, and last what was ever counted; a counter older than its window is missing, never stale.
WINDOW_NAMES = ("5m", "1h", "24h", "7d", "30d", "ever")
WINDOWS = len(WINDOW_NAMES)
LIMITS = np.array([5 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY, 30 * DAY])
_WEEK, _MONTH = 7, 4

VIEWS, CLICKS = 0, 1

# A key's counts are words of 64 bits: its buckets, each with the views in the upper half and the clicks in the lower,
# so that one addition sums both; then the newest bucket of each ring, views and clicks ever, first and last moment.
HEADS = BUCKETS
TOTALS = HEADS + RINGS
FIRST, LAST = TOTALS + 2, TOTALS + 3
WORDS = TOTALS + 4
_HALF = 1 << 32
_ONE = np.array([_HALF, 1])

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@inlined
def moment(ts: int, now: Ints) -> None:
    """Write the bucket that a moment falls into, and where in its ring that one stands, by ring; shape [2, RINGS]."""
    for ring in range(RINGS):
        now[0, ring] = ts // WIDTHS[ring]
        now[1, ring] = now[0, ring] % SIZES[ring]


@inlined
def count(words: Ints, slot: int, ts: int, now: Ints, what: int, amount: int) -> None:
    """Count events of one moment (``now``: the same as ``moment`` writes it); what a ring has passed is not in it."""
    for ring in range(RINGS):
        size, start, bucket, head = SIZES[ring], STARTS[ring], now[0, ring], words[slot, HEADS + ring]
        if bucket > head:
            for skipped in range(min(bucket - head, size)):
                place = now[1, ring] - skipped
                if place < 0:
                    place += size
                words[slot, start + place] = 0
            words[slot, HEADS + ring] = bucket
        elif bucket <= head - size:
            continue
        words[slot, start + now[1, ring]] += amount * _ONE[what]
    words[slot, TOTALS + what] += amount
    see(words, slot, ts)


@inlined
def see(words: Ints, slot: int, ts: int) -> None:
    """Note that a key was there at a moment."""
    if words[slot, FIRST] == 0 or ts < words[slot, FIRST]:
        words[slot, FIRST] = ts
    words[slot, LAST] = max(words[slot, LAST], ts)


@inlined
def add_up(words: Ints, slot: int, now: Ints, sums: Floats, row: int) -> None:
    """Write the views and clicks of a key's windows, as known at a ``moment``, into a row of [..., WINDOWS, 2]."""
    for ring in range(RINGS):
        size, bucket, head = SIZES[ring], now[0, ring], words[slot, HEADS + ring]
        newest, oldest = min(bucket, head), max(bucket, head) - size + 1
        length = max(newest - oldest + 1, 0)
        place = now[1, ring] - (bucket - newest)
        if place < 0:
            place += size
        if ring < RINGS - 1:
            total = _span(words, slot, STARTS[ring], size, place, length)
            window = ring
        else:
            week = min(length, max(newest - (bucket - _WEEK), 0))
            total = _span(words, slot, STARTS[ring], size, place, week)
            sums[row, _MONTH - 1, 0], sums[row, _MONTH - 1, 1] = total // _HALF, total % _HALF
            rest = place - week
            if rest < 0:
                rest += size
            total += _span(words, slot, STARTS[ring], size, rest, length - week)
            window = _MONTH
        sums[row, window, 0], sums[row, window, 1] = total // _HALF, total % _HALF
    sums[row, WINDOWS - 1, 0], sums[row, WINDOWS - 1, 1] = words[slot, TOTALS], words[slot, TOTALS + 1]


@inlined
def _span(words: Ints, slot: int, start: int, size: int, place: int, length: int) -> int:
    """Sum ``length`` buckets of a ring, backwards from a place."""
    total = 0
    if length <= 0:  # the place is then that of a time long gone
        return total
    for at in range(start + max(place - length + 1, 0), start + place + 1):
        total += words[slot, at]
    for at in range(start + size - max(length - place - 1, 0), start + size):
        total += words[slot, at]
    return total
