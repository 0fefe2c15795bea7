"""Lists as a server would see them whose event stream has stopped: what the ranker practises on, beside the whole ones.

A ranker that has only met fresh counters leans on them when they are stale, and falls when they are gone. So some
lists are learned as a state answers them that has heard nothing for a while, or ever; features, history and text alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features.windows import HOUR
from training.ranker_config import RankerConfig

Ints = npt.NDArray[np.int64]
Table = npt.NDArray[np.float32]

# For so many hours nothing was heard: any order of magnitude between is as likely.
SHORTEST, LONGEST = 1.0, 72.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outages:
    """Which lists are learned so, ascending [S], and up to when each of them knows the log, in UTC microseconds [S]."""

    numbers: Ints
    known_until: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageRows:
    """Those lists' numbers [S], and what is known of their items then: features [R, F] and text outputs [R, 5]."""

    numbers: Ints
    behaviour: Table
    text: Table


def draw_outages(ts: Ints, config: RankerConfig) -> Outages:
    """Draw from lists of given moments those that never heard anything, and those that have not for a while."""
    rng = np.random.default_rng(config.seed)
    drawn = rng.random(len(ts))
    hours = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), len(ts)))
    until = np.where(drawn < config.counter_dropout, 0, ts - (hours * HOUR).astype(np.int64))
    numbers = np.flatnonzero(drawn < config.counter_dropout + config.stale_share)
    return Outages(numbers=numbers, known_until=until[numbers])
