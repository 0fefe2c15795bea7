"""What people do, as the service is told it: lists shown, clicks on them, and whatever else is done with an item."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from recsys.errors import InvalidRequest
from recsys.schema import MAX_CANDIDATES, check_id, check_text

# What an interaction may be. Clicks and skips follow from impressions, so they are not among them.
INTERACTIONS = ("cart", "purchase", "dwell", "hide", "other")


def time_ordered_id(now_us: int) -> str:
    """Make a random id of 32 characters that begins with the time; ``now_us`` in UTC microseconds.

    A large log takes such ids several times as fast as those without order: they stand together in its indexes.
    """
    return f"{now_us:016x}{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Impression:
    """A list was shown, top first; ``ts`` in UTC microseconds. An empty user is an anonymous visitor."""

    event_id: str
    request_id: str
    user_id: str
    ts: int
    item_ids: tuple[str, ...]
    surface: str = ""
    query: str = ""

    def __post_init__(self) -> None:
        check_id("event_id", self.event_id)
        check_id("the impression's request_id", self.request_id)
        check_id("the impression's user_id", self.user_id, empty=True)
        check_id("the impression's surface", self.surface, empty=True)
        check_text("the impression's query", self.query)
        if not 0 < len(self.item_ids) <= MAX_CANDIDATES:
            raise InvalidRequest(f"an impression shows {len(self.item_ids)} items; send 1 to {MAX_CANDIDATES}")
        if len(set(self.item_ids)) != len(self.item_ids):
            raise InvalidRequest("an impression shows an item twice; send each item once")
        for item_id in self.item_ids:
            check_id("an impression's item_id", item_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """An item of the list that ``request_id`` names was clicked."""

    event_id: str
    request_id: str
    item_id: str
    ts: int

    def __post_init__(self) -> None:
        check_id("event_id", self.event_id)
        check_id("the click's request_id", self.request_id)
        check_id("the click's item_id", self.item_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """Something else that a user did with an item, wherever it stood; ``type`` is one of ``INTERACTIONS``."""

    event_id: str
    user_id: str
    item_id: str
    type: str
    ts: int

    def __post_init__(self) -> None:
        check_id("event_id", self.event_id)
        check_id("the interaction's user_id", self.user_id)
        check_id("the interaction's item_id", self.item_id)
        if self.type not in INTERACTIONS:
            raise InvalidRequest(f"an interaction cannot be {self.type!r}; use one of {', '.join(INTERACTIONS)}")


Event = Impression | Click | Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """An event as the log tells it to the state, in the order in which the state has to learn.

    ``sequence`` counts from 1 and never falls from one to the next. A click comes with the list that showed it, at the
    later of both places in the log; before the list is known, and where the list did not show the item, it is not told
    at all, and neither is a second click of the same list on the same item.
    """

    sequence: int
    event: Event
    shown: Impression | None = None
