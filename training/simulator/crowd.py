"""The people of a simulated shop: what they like, how often they come and since when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.simulator.config import SimulationConfig
from training.simulator.vocabulary import STYLES

_CONCENTRATION = 0.4  # of the Dirichlet tastes: below 1, most people like a few topics
_FLOOR = 0.01  # keeps the log of a taste of nearly 0 in bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """The truth of U users, sorted by arrival (in days since the start; 0 for those there from the first day).

    ``interest`` [U, topics] sums to 1 per user. ``taste`` [U, topics] and ``flair`` [U, styles] are log-interests with
    mean 0 and variance 1 per user: what the click model adds up.
    """

    interest: npt.NDArray[np.float64]
    taste: npt.NDArray[np.float64]
    flair: npt.NDArray[np.float64]
    activity: npt.NDArray[np.float64]
    arrival: npt.NDArray[np.float64]
    ids: list[str]


def make_crowd(config: SimulationConfig, rng: np.random.Generator) -> Crowd:
    """Draw the users."""
    count = config.users
    interest = rng.dirichlet(np.full(config.topics, _CONCENTRATION), count)
    styles = rng.dirichlet(np.full(len(STYLES), _CONCENTRATION), count)
    arrival = np.zeros(count)
    arrival[config.first_users :] = np.sort(rng.uniform(0.0, config.days, count - config.first_users))
    width = len(str(count - 1))
    return Crowd(
        interest=interest,
        taste=_log_interest(interest),
        flair=_log_interest(styles),
        activity=np.exp(0.8 * rng.standard_normal(count)),
        arrival=arrival,
        ids=[f"user-{number:0{width}d}" for number in range(count)],
    )


def _log_interest(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log(shares + _FLOOR)
    centred = logs - logs.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(centred.std(axis=1, keepdims=True), _FLOOR))
