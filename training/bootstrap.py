"""How sure a mean over lists is: 95 % intervals by drawing the users again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Draws x users at a time: 32 MB of counts.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean over lists with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval, for the ± beside the value."""
        return (self.high - self.low) / 2

    def to_json(self) -> dict[str, float]:
        """Return the three numbers by name."""
        return {"value": self.value, "low": self.low, "high": self.high}


def intervals(
    values: npt.NDArray[np.float64], users: npt.NDArray[np.integer], *, draws: int, seed: int
) -> list[Figure]:
    """Average each column over its lists, with the middle 95 % of the averages over drawn users.

    Lists of one user are alike, so whole users are drawn, with replacement and as many as there are; every column
    sees the same draws, and a column of differences between two methods makes a paired comparison.

    Args:
        values: one row per list, one column per figure; shape [K, M], K at least 1.
        users: any number that names the user of each list; shape [K].
        draws: how often to draw.
        seed: same seed, same intervals.
    """
    _, user = np.unique(users, return_inverse=True)
    count = int(user.max()) + 1
    order = np.argsort(user, kind="stable")
    starts = np.searchsorted(user[order], np.arange(count))
    lists_of_user = np.diff(np.append(starts, len(user))).astype(np.float64)
    sums = np.add.reduceat(values[order], starts, axis=0)
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK // count)
    means = []
    for begin in range(0, draws, size):
        here = min(size, draws - begin)
        drawn = rng.integers(0, count, (here, count)) + np.arange(here)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=here * count).reshape(here, count).astype(np.float64)
        means.append((times @ sums) / (times @ lists_of_user)[:, None])
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975], axis=0)
    return [
        Figure(value=float(v), low=float(a), high=float(b))
        for v, a, b in zip(values.mean(axis=0), low, high, strict=True)
    ]
