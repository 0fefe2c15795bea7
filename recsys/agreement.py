"""How far two orders of the same items agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def kendall_tau(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of pairs in the same order less that of pairs in the opposite one, -1 to 1; 1 without pairs.

    Raises:
        ValueError: the orders are not of the same items, or name one twice.
    """
    place = {item: number for number, item in enumerate(other)}
    if len(place) != len(other) or sorted(one) != sorted(other):
        raise ValueError("the two orders are not of the same items, each once")
    there = np.array([place[item] for item in one], np.int64)
    pairs = len(one) * (len(one) - 1) // 2
    if not pairs:
        return 1.0
    upper = np.triu_indices(len(one), 1)
    return float(np.sign(there[upper[1]] - there[upper[0]]).sum() / pairs)


def top_overlap(one: Sequence[str], other: Sequence[str], k: int) -> float:
    """Return the share of the first ``k`` of one order that are among the first ``k`` of the other; 1 without items."""
    first = set(one[:k])
    return len(first & set(other[:k])) / len(first) if first else 1.0
