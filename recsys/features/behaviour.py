"""What the pipeline needs of whatever knows what people did, in this process or in one that servers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from recsys.events import Logged
from recsys.features.context import Context
from recsys.features.feature_set import FeatureSet
from recsys.features.keys import Slots
from recsys.lists import Lists


class Behaviour(Protocol):
    """Learns from events and answers lists; safe to use from several threads at once."""

    @property
    def feature_set(self) -> FeatureSet:
        """The features that are computed from the answers."""
        ...

    @property
    def versions(self) -> Mapping[str, int]:
        """Up to where it knows each event log, by the log's name."""
        ...

    def hear(self, told: Sequence[Logged], sequence: int | None = None) -> None:
        """Learn events in the order in which the log tells them; what was heard before must not be told again.

        Then the log is known up to ``sequence``: that of the last of them, unless more was left out on purpose.
        """
        ...

    def look(self, lists: Lists) -> Context:
        """Return what is known of users and candidates now, each list at its own moment.

        The context says up to where it knows the logs, which users it knows, and whether the store did not answer
        (``Context.missing``).
        """
        ...

    def items_changed(self, rows: Slots) -> None:
        """Read rows [n] of the catalog that are new, or say something else now."""
        ...
