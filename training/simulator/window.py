"""What the shop shows: which items on which day, and in which order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.simulator.config import SimulationConfig
from training.simulator.crowd import Crowd
from training.simulator.goods import Goods

_DRAWS_PER_PLACE = 3  # enough for distinct items nearly always; the rest is filled up one by one
_DRIFT_EXPOSURE = 0.5  # what is in fashion is shown more


class Window:
    """One day's choice of items: drawn by exposure and fashion, some of them from topics the user likes.

    An item drawn early stands early, so that exposure shows in the order, as it does in a real shop.
    """

    def __init__(
        self, config: SimulationConfig, goods: Goods, crowd: Crowd, fashion: npt.NDArray[np.float64], day: int
    ) -> None:
        weight = goods.exposure * np.exp(_DRIFT_EXPOSURE * fashion) * (goods.published <= day)
        self._total = np.concatenate([[0.0], np.cumsum(weight)])
        edges = np.searchsorted(goods.topic, np.arange(config.topics + 1))
        self._low, self._high = self._total[edges[:-1]], self._total[edges[1:]]
        self._active = np.flatnonzero(weight)
        self._reach = np.cumsum(crowd.interest, axis=1)
        self._config = config

    def choose(self, users: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return distinct items for each user, in shown order; shape [B, list_length]."""
        length = self._config.list_length
        shape = (len(users), _DRAWS_PER_PLACE * length)
        topic = (rng.random(shape)[:, :, None] > self._reach[users][:, None, :-1]).sum(axis=2)
        low, high = self._low[topic], self._high[topic]
        personal = (rng.random(shape) < self._config.personal) & (high > low)
        low, high = np.where(personal, low, 0.0), np.where(personal, high, self._total[-1])
        drawn = np.searchsorted(self._total, low + rng.random(shape) * (high - low), side="right") - 1
        return self._distinct(np.minimum(drawn, self._active[-1]), rng)

    def _distinct(self, drawn: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Keep the first ``list_length`` different items of each row."""
        length = self._config.list_length
        order = np.argsort(drawn, axis=1, kind="stable")
        ordered = np.take_along_axis(drawn, order, axis=1)
        repeated = np.zeros(drawn.shape, dtype=bool)
        np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        first = np.argsort(repeated, axis=1, kind="stable")[:, :length]
        chosen = np.take_along_axis(drawn, first, axis=1)
        for row in np.flatnonzero((~repeated).sum(axis=1) < length):
            found = drawn[row][~repeated[row]]
            others = rng.permutation(np.setdiff1d(self._active, found))
            chosen[row] = np.concatenate([found, others])[:length]
        return chosen
