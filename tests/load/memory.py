"""How much memory a process occupies, and how fast that grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MIB = 1 << 20


def resident(pid: int | str = "self") -> float:
    """Return what a process occupies, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def slope(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Return how much is added an hour: the median of the slopes between all pairs [n] (Theil 1950, Sen 1968).

    A third of the samples may be anything.
    """
    x, y = np.asarray(seconds), np.asarray(values)
    earlier, later = np.triu_indices(len(x), 1)
    return float(np.median((y[later] - y[earlier]) / (x[later] - x[earlier])) * 3_600)
