"""What a simulated shop looks like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recsys.errors import ConfigError
from recsys.schema import MAX_CANDIDATES
from training.simulator.vocabulary import TOPICS


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """Size, time and truth of a simulated shop; the same config gives the same files, byte for byte.

    The ``*_weight`` figures are in log-odds of a click per standard deviation (taste, style, quality, drift) or at the
    moment of publication (freshness).
    """

    seed: int = 0
    items: int = 2_000
    users: int = 1_000
    lists: int = 10_000
    list_length: int = 20
    topics: int = len(TOPICS)
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    days: int = 28
    new_items: float = 0.3
    """Share of the items that are published while the log runs, evenly spread over it."""
    new_users: float = 0.3
    """Share of the users who first appear while the log runs."""
    personal: float = 0.25
    """Share of the shown items that the shop picks by the user's taste; the others are picked by exposure alone."""
    base_logit: float = -2.6
    taste_weight: float = 0.95
    style_weight: float = 0.75
    quality_weight: float = 0.7
    freshness_weight: float = 0.6
    freshness_days: float = 7.0
    """An item's freshness falls to 37 % in this time."""
    drift_weight: float = 0.3
    drift_days: float = 10.0
    """How long an item's fashion lasts: the correlation time of its drifting popularity."""
    position_bias: float = 0.25
    """The item at place r, from 1, is looked at with probability r ** -position_bias."""
    noise: float = 0.05
    """Share of decisions made without looking: a click with probability ``noise_click_rate``, whatever the item."""
    noise_click_rate: float = 0.1

    def __post_init__(self) -> None:
        self._check_sizes()
        for name in ("new_items", "new_users", "personal", "noise", "noise_click_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a share between 0 and 1")
        for name in ("freshness_days", "drift_days"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a number of days above 0")
        if self.position_bias < 0.0:
            raise ConfigError(f"position_bias is {self.position_bias}; give 0 for none, or more")
        if self.start.utcoffset() != timedelta(0):
            raise ConfigError("start is not in UTC; give a time with time zone UTC")

    def _check_sizes(self) -> None:
        for name in ("items", "users", "lists", "list_length", "days"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1")
        if not 1 <= self.topics <= len(TOPICS):
            raise ConfigError(f"topics is {self.topics}; the vocabulary holds 1 to {len(TOPICS)}")
        if self.list_length > MAX_CANDIDATES:
            raise ConfigError(f"list_length is {self.list_length}; no request may hold more than {MAX_CANDIDATES}")
        if self.first_items < self.list_length:
            raise ConfigError(
                f"{self.first_items} items on the first day do not fill a list of {self.list_length}; "
                "give more items, fewer new_items or a smaller list_length"
            )

    @property
    def first_items(self) -> int:
        """Count the items that are there from the first day."""
        return self.items - round(self.items * self.new_items)

    @property
    def first_users(self) -> int:
        """Count the users who are there from the first day; at least one."""
        return max(1, self.users - round(self.users * self.new_users))
