"""The nouns that every part of the product shares: what is asked, what is ranked, what is answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recsys.errors import InvalidRequest

MAX_CANDIDATES = 1_000
MAX_HISTORY = 1_000
MAX_ID_BYTES = 128
MAX_TEXT_BYTES = 8_192

# What a user did with an item; the position in this tuple is the code that the click head learns an embedding for.
# "skip" is an item that was shown and not clicked, "query" a search or question in the request itself.
ACTIONS = ("pad", "click", "skip", "cart", "purchase", "dwell", "hide", "query", "other")
ACTION_CODE = {name: code for code, name in enumerate(ACTIONS)}

# What the text model says of one candidate, in the order of the click head's output columns.
TEXT_OUTPUTS = ("text_logit", "item_logit", "match_logit", "max_similarity", "mean_similarity")


def check_id(kind: str, value: str, *, empty: bool = False) -> None:
    """Refuse an id that is too long, or empty where it must not be; raises InvalidRequest."""
    if 0 < len(value) <= MAX_ID_BYTES // 4:  # no letter takes more than four bytes
        return
    if not value and not empty:
        raise InvalidRequest(f"{kind} is empty; send a non-empty id")
    if len(value.encode()) > MAX_ID_BYTES:
        raise InvalidRequest(f"{kind} is longer than {MAX_ID_BYTES} bytes; send a shorter id")


def check_text(kind: str, value: str) -> None:
    """Refuse a text that is too long; raises InvalidRequest."""
    if len(value.encode()) > MAX_TEXT_BYTES:
        raise InvalidRequest(f"{kind} is longer than {MAX_TEXT_BYTES} bytes; shorten the text")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemText:
    """What an item says: the fields that the text model reads."""

    title: str
    description: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("title", "description", "category"):
            check_text(f"the item's {name}", getattr(self, name))
        check_text("the item's tags together", " ".join(self.tags))


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of the catalog; ``published_us`` in UTC microseconds, 0 when unknown.

    ``attributes`` are further columns of the item table: a number, a boolean, a text, a list of texts, or nothing.
    """

    item_id: str
    text: ItemText
    published_us: int = 0
    attributes: Mapping[str, float | bool | str | Sequence[str] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id("an item's item_id", self.item_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An item that may be shown; ``text`` is for items that the catalog does not know yet."""

    item_id: str
    text: ItemText | None = None

    def __post_init__(self) -> None:
        check_id("a candidate's item_id", self.item_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Something the user did with an item; ``ts`` in UTC microseconds, 0 when unknown."""

    item_id: str
    action: str = "click"
    ts: int = 0

    def __post_init__(self) -> None:
        check_id("a history entry's item_id", self.item_id)
        if self.action not in ACTION_CODE or self.action == "pad":
            raise InvalidRequest(f"unknown action {self.action!r}; use one of {', '.join(ACTIONS[1:])}")
        if self.ts < 0:
            raise InvalidRequest("a history entry's time is before 1970; send UTC time")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """One question: in which order is this user most likely to click these candidates?

    ``ts`` is the time of the request in UTC microseconds. ``history`` (oldest first) replaces what the service
    knows about the user; None keeps it, an empty tuple says that there is none. ``top_k`` of 0 returns all.
    """

    user_id: str
    candidates: tuple[Candidate, ...]
    ts: int
    request_id: str = ""
    history: tuple[HistoryEntry, ...] | None = None
    query: str = ""
    surface: str = ""
    top_k: int = 0

    def __post_init__(self) -> None:
        if len(self.user_id.encode()) > MAX_ID_BYTES or len(self.request_id.encode()) > MAX_ID_BYTES:
            raise InvalidRequest(f"user_id or request_id is longer than {MAX_ID_BYTES} bytes; send a shorter id")
        if len(self.surface.encode()) > MAX_ID_BYTES:
            raise InvalidRequest(f"surface is longer than {MAX_ID_BYTES} bytes; send a short name")
        if self.ts <= 0:
            raise InvalidRequest("the request's time is not after 1970; send UTC microseconds")
        if self.top_k < 0:
            raise InvalidRequest("top_k is negative; send 0 for all candidates")
        if len(self.candidates) > MAX_CANDIDATES:
            raise InvalidRequest(
                f"{len(self.candidates)} candidates are more than {MAX_CANDIDATES}; send fewer, or use batch scoring"
            )
        if self.history is not None and len(self.history) > MAX_HISTORY:
            raise InvalidRequest(f"the history is longer than {MAX_HISTORY}; send the newest entries")
        check_text("the query", self.query)
        if len({candidate.item_id for candidate in self.candidates}) == len(self.candidates):
            return
        seen: set[str] = set()
        for place, candidate in enumerate(self.candidates, start=1):
            if candidate.item_id in seen:
                # Its place, not its id: texts of errors end in the logs of callers.
                raise InvalidRequest(f"the item of candidate {place} occurs twice; send each candidate once")
            seen.add(candidate.item_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedItem:
    """One place of the answer; ``score`` orders within this list only, ``click_probability`` is calibrated.

    In a client's fallback the probability is NaN, because nobody computed one.
    """

    item_id: str
    score: float
    click_probability: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):  # our own bug, not the caller's
            raise ValueError(f"score of {self.item_id} is not finite")


# What an answer may have to do without: the shared state, so that nothing of what people did is known.
NO_STATE = "no_state"
# The service itself: the client gave an order of its own. Never on the wire.
CLIENT_FALLBACK = "client_fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The answer: items best first, which bundle said so, what was missing, and where the time went (seconds).

    ``items_without_text`` are candidates of the catalog whose text was not read yet.
    ``degraded`` names what the answer had to do without (``NO_STATE``, ``CLIENT_FALLBACK``); ``state_versions`` says up
    to where it knows each event log, by the log's name. A client's fallback has an empty ``bundle_id``.
    """

    request_id: str
    bundle_id: str
    items: tuple[RankedItem, ...]
    text_coverage: float
    unknown_items: tuple[str, ...] = ()
    items_without_text: tuple[str, ...] = ()
    unknown_user: bool = False
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    degraded: tuple[str, ...] = ()
    state_versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """How far one feature, or group of features, moved an item's score (``effect``, in score units)."""

    feature: str
    value: float
    effect: float
