"""Counts over the last minutes to months, as sums of time buckets: constant memory, and exact integers.

A ring holds a key's newest N buckets of one width; which bucket stands where follows from the time alone, so that a
ring depends on the set of its events and not on the order in which they came. The current bucket counts from its
beginning: a window of N buckets reaches back between N - 1 and N widths.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.compiled import inlined

SECOND = 1_000_000  # microseconds
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND

# Rings, finest first: the width of a bucket, and how many there are.
_RINGS = ((MINUTE, 5), (5 * MINUTE, 12), (HOUR, 24), (DAY, 30))
WIDTHS = np.array([width for width, _ in _RINGS])
SIZES = np.array([size for _, size in _RINGS])
RINGS = len(_RINGS)

# Windows, shortest first, and last what was ever counted; a counter older than its window is missing, never stale.
WINDOW_NAMES = ("5m", "1h", "24h", "7d", "30d", "ever")
WINDOWS = len(WINDOW_NAMES)
LIMITS = np.array([5 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY, 30 * DAY])
_WEEK = 7

VIEWS, CLICKS = 0, 1

# A key's counts are words of 64 bits, what is read most in front: the newest bucket of each ring, the sum of each ring,
# views and clicks ever, first and last moment, and the buckets. Buckets and sums hold the views in their upper half and
# the clicks in the lower, so that one addition sums both.
HEADS, SUMS = 0, RINGS
TOTALS = SUMS + RINGS
FIRST, LAST = TOTALS + 2, TOTALS + 3
_BUCKETS = TOTALS + 4
STARTS = _BUCKETS + np.array([0, 5, 17, 41])
WORDS = _BUCKETS + 71
_ONE = np.array([1 << 32, 1])

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
            words[slot, HEADS + ring] = bucket
            left = words[slot, SUMS + ring]
            place = now[1, ring]
            for _ in range(min(bucket - head, size)):
                if left == 0:  # then all buckets are empty already
                    break
                left -= words[slot, start + place]
                words[slot, start + place] = 0
                place = place - 1 if place > 0 else size - 1
            words[slot, SUMS + ring] = left
        elif bucket <= head - size:
            continue
        words[slot, start + now[1, ring]] += amount * _ONE[what]
        words[slot, SUMS + ring] += amount * _ONE[what]
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
    # One by one, not in a loop: what is known of each ring is then worked into its code.
    _write(_ring(words, slot, now, 0), sums, row, 0)
    _write(_ring(words, slot, now, 1), sums, row, 1)
    _write(_ring(words, slot, now, 2), sums, row, 2)
    month = _ring(words, slot, now, 3)
    _write(_week(words, slot, now) if month != 0 else 0, sums, row, 3)
    _write(month, sums, row, 4)
    sums[row, 5, 0], sums[row, 5, 1] = words[slot, TOTALS], words[slot, TOTALS + 1]


@inlined
def _write(total: int, sums: Floats, row: int, window: int) -> None:
    sums[row, window, 0], sums[row, window, 1] = total >> 32, total & 0xFFFFFFFF


@inlined
def _ring(words: Ints, slot: int, now: Ints, ring: int) -> int:
    """Sum the buckets of a ring that lie within its length before a moment: all of them but a few, as a rule."""
    size, total = SIZES[ring], words[slot, SUMS + ring]
    gap = now[0, ring] - words[slot, HEADS + ring]
    if total == 0 or gap >= size or gap <= -size:
        return 0
    # Behind the newest bucket, up to the moment's, stand buckets a whole round older; a newer one than the moment's
    # is not known at the moment.
    place = now[1, ring] if gap > 0 else now[1, ring] - gap
    place = place if place < size else place - size
    for _ in range(abs(gap)):
        total -= words[slot, STARTS[ring] + place]
        place = place - 1 if place > 0 else size - 1
    return int(total)


@inlined
def _week(words: Ints, slot: int, now: Ints) -> int:
    """Sum the last days of the ring of days."""
    ring, total = RINGS - 1, 0
    size, bucket, head = SIZES[ring], now[0, ring], words[slot, HEADS + ring]
    newest, oldest = min(bucket, head), max(bucket - _WEEK, head - size) + 1
    place = now[1, ring] - (bucket - newest)
    place = place if place >= 0 else place + size
    for _ in range(newest - oldest + 1):
        total += words[slot, STARTS[ring] + place]
        place = place - 1 if place > 0 else size - 1
    return total
