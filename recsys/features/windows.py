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

Buckets = npt.NDArray[np.uint32]
Heads = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]


@inlined
def moment(ts: int, now: Ints) -> None:
    """Write the bucket that a moment falls into, and where in its ring that one stands, by ring; shape [2, RINGS]."""
    for ring in range(RINGS):
        now[0, ring] = ts // WIDTHS[ring]
        now[1, ring] = now[0, ring] % SIZES[ring]


@inlined
def count(buckets: Buckets, heads: Heads, slot: int, now: Ints, what: int, amount: int) -> None:
    """Count events of one ``moment`` in all rings of a key; what is older than a ring reaches is not counted there."""
    for ring in range(RINGS):
        size, start, bucket, head = SIZES[ring], STARTS[ring], now[0, ring], heads[slot, ring]
        if bucket > head:
            for skipped in range(min(bucket - head, size)):
                place = now[1, ring] - skipped
                if place < 0:
                    place += size
                buckets[slot, start + place, 0] = 0
                buckets[slot, start + place, 1] = 0
            heads[slot, ring] = bucket
        elif bucket <= head - size:
            continue
        buckets[slot, start + now[1, ring], what] += amount


@inlined
def add_up(buckets: Buckets, heads: Heads, slot: int, now: Ints, sums: npt.NDArray[np.float64]) -> None:
    """Write the views and clicks of a key's windows, as known at a ``moment``, into ``sums``; shape [WINDOWS, 2]."""
    week_views, week_clicks = 0, 0
    for ring in range(RINGS):
        size, start, bucket, head = SIZES[ring], STARTS[ring], now[0, ring], np.int64(heads[slot, ring])
        newest, oldest = min(bucket, head), max(bucket, head) - size + 1
        place = now[1, ring] - (bucket - newest)
        views, clicks = 0, 0
        if newest >= oldest:
            if place < 0:
                place += size
            for back in range(newest - oldest + 1):
                if ring == RINGS - 1 and newest - back == bucket - _WEEK:
                    week_views, week_clicks = views, clicks
                views += buckets[slot, start + place, 0]
                clicks += buckets[slot, start + place, 1]
                place -= 1
                if place < 0:
                    place = size - 1
            if ring == RINGS - 1 and oldest > bucket - _WEEK:
                week_views, week_clicks = views, clicks
        window = ring if ring < RINGS - 1 else _MONTH
        sums[window, 0], sums[window, 1] = views, clicks
    sums[_MONTH - 1, 0], sums[_MONTH - 1, 1] = week_views, week_clicks
