"""The stale-counter test: a ranker that leans on counters must not rank worse than the texts alone without them.

Counters stop when the event stream stops, and are gone when their store is. Then the full stack may lose what they
told, but no more: it has the texts too. Both methods stand under the same circumstances, the user's history included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features.windows import DAY

Moments = npt.NDArray[np.int64]

# What is compared: the first may be below the second by no more than so much AUC.
METHODS = ("full", "text_only")
TOLERANCE = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstance:
    """Something that happens to counters, and up to when lists of given moments then know the log (UTC µs)."""

    title: str
    says: str
    known_until: Callable[[Moments], Moments]


# Name -> circumstance. The name is the key in every report.
CIRCUMSTANCES: dict[str, Circumstance] = {
    "frozen_24h": Circumstance(
        title="frozen 24 h",
        says="nothing was heard in the 24 hours before each list",
        known_until=lambda ts: ts - DAY,
    ),
    "gone": Circumstance(title="gone", says="nothing was ever heard", known_until=np.zeros_like),
}
