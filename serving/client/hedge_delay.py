"""When a call has waited long enough for the same question to go to another server."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from recsys.errors import ConfigError

# One call in twenty takes longer; it is about what hedges may cost.
P95: Final = "p95"
HedgeAfter = float | Literal["p95"]

_REMEMBERED = 256
_FEWEST = 20


class HedgeDelay(Protocol):
    """Says how long to wait for the first answer, and is told how long answered calls took."""

    def seconds(self) -> float | None:
        """Return the delay, None where nothing is to be sent twice yet."""

    def saw(self, latency_s: float) -> None:
        """Note how long an answered call took."""


@dataclass(frozen=True, slots=True)
class FixedDelay:
    """Always the same."""

    delay_s: float

    def seconds(self) -> float:
        """Return it."""
        return self.delay_s

    def saw(self, latency_s: float) -> None:
        """Learn nothing."""


class RecentP95:
    """As long as 95 % of the last 256 calls took; not known before 20 of them."""

    def __init__(self) -> None:
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)

    def seconds(self) -> float | None:
        """Return the 95th percentile."""
        latencies = sorted(self._latencies.copy())
        return latencies[int(0.95 * len(latencies))] if len(latencies) >= _FEWEST else None

    def saw(self, latency_s: float) -> None:
        """Remember it."""
        self._latencies.append(latency_s)


def hedge_delay(after: HedgeAfter | None, lanes: int) -> HedgeDelay | None:
    """Read the clients' setting; None is no hedging.

    Raises:
        ConfigError: it is no delay, or there is no second address.
    """
    if after is None:
        return None
    if lanes < 2:
        raise ConfigError("a second try needs a second address; give several, or leave hedge_after_s out")
    if isinstance(after, str):
        if after != P95:
            raise ConfigError(f"hedge_after_s is {after!r}; give seconds, or {P95!r}")
        return RecentP95()
    if after < 0:
        raise ConfigError(f"hedge_after_s is {after}; give seconds, 0 or more")
    return FixedDelay(after)
