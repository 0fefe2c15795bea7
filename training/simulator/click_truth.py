"""The simulated shop's law: how probable a click truly is.

With the user's taste for the item's topic and flair for its style, the item's quality and its fashion of the day, and
r its place from 1::

    logit      = base_logit + taste_weight * taste + style_weight * flair + quality_weight * quality
               + drift_weight * fashion + freshness_weight * exp(-age / freshness_days)
    attraction = (1 - noise) * sigmoid(logit)                       + noise * noise_click_rate
    click      = (1 - noise) * sigmoid(logit) * r ** -position_bias + noise * noise_click_rate
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.simulator.config import SimulationConfig
from training.simulator.crowd import Crowd
from training.simulator.goods import Goods

Floats = npt.NDArray[np.float64]


def attraction(
    config: SimulationConfig,
    goods: Goods,
    crowd: Crowd,
    *,
    users: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
    fashion: Floats,
    moments: Floats,
) -> Floats:
    """Return sigmoid(logit) for each user's items.

    Args:
        config: the weights.
        goods: the truth of the items.
        crowd: the truth of the users.
        users: shape [B].
        items: shape [B, L].
        fashion: of every item on this day; shape [N].
        moments: when the lists are shown, in days since the start; shape [B].
    """
    of_user = users[:, None]
    age = moments[:, None] - goods.published[items]
    logit = (
        config.base_logit
        + config.taste_weight * crowd.taste[of_user, goods.topic[items]]
        + config.style_weight * crowd.flair[of_user, goods.style[items]]
        + config.quality_weight * goods.quality[items]
        + config.drift_weight * fashion[items]
        + config.freshness_weight * np.exp(-age / config.freshness_days)
    )
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def with_noise(config: SimulationConfig, probability: Floats) -> Floats:
    """Mix in the decisions made without looking."""
    return (1.0 - config.noise) * probability + config.noise * config.noise_click_rate


def position_effect(config: SimulationConfig) -> Floats:
    """Return the probability that each place is looked at; shape [list_length]."""
    return np.asarray(np.arange(1, config.list_length + 1) ** -config.position_bias)


def next_fashion(config: SimulationConfig, fashion: Floats, rng: np.random.Generator) -> Floats:
    """Let the items' fashion drift by one day, keeping variance 1."""
    kept = np.exp(-1.0 / config.drift_days)
    return np.asarray(kept * fashion + np.sqrt(1.0 - kept**2) * rng.standard_normal(len(fashion)))
