"""What is asked: a user, a moment, and the candidates to order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainSerializer

from recsys.errors import InvalidRequest
from recsys.schema.items import Candidate, Candidates, ItemText
from recsys.schema.limits import MAX_CANDIDATES, MAX_HISTORY, MAX_ID_BYTES, check_id, check_text

# What a user did with an item; the position in this tuple is the code that the click head learns an embedding for.
# "skip" is an item that was shown and not clicked, "query" a search or question in the request itself.
ACTIONS = ("pad", "click", "skip", "cart", "purchase", "dwell", "hide", "query", "other")
ACTION_CODE = {name: code for code, name in enumerate(ACTIONS)}


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

    ``candidates`` are kept in columns, however they come. ``ts`` is the time of the request in UTC microseconds.
    ``history`` (oldest first) replaces what the service knows about the user; None keeps it, an empty tuple says that
    there is none. ``top_k`` of 0 returns all. ``bundle`` names the loaded bundle, or the variant, that shall answer;
    empty leaves it to the server.
    """

    user_id: str
    # How a bundle's manifest writes them down.
    candidates: Annotated[Sequence[Candidate], PlainSerializer(tuple, return_type=tuple[Candidate, ...])]
    ts: int
    request_id: str = ""
    history: tuple[HistoryEntry, ...] | None = None
    query: str = ""
    surface: str = ""
    top_k: int = 0
    bundle: str = ""

    def __post_init__(self) -> None:
        if len(self.user_id.encode()) > MAX_ID_BYTES or len(self.request_id.encode()) > MAX_ID_BYTES:
            raise InvalidRequest(f"user_id or request_id is longer than {MAX_ID_BYTES} bytes; send a shorter id")
        if len(self.surface.encode()) > MAX_ID_BYTES or len(self.bundle.encode()) > MAX_ID_BYTES:
            raise InvalidRequest(f"surface or bundle is longer than {MAX_ID_BYTES} bytes; send a short name")
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
        object.__setattr__(self, "candidates", Candidates.of(self.candidates))
        ids = self.item_ids
        if len(set(ids)) < len(ids):
            # Its place, not its id: texts of errors end in the logs of callers.
            place = next(place for place, item_id in enumerate(ids) if item_id in ids[:place])
            raise InvalidRequest(f"the item of candidate {place + 1} occurs twice; send each candidate once")

    @property
    def item_ids(self) -> Sequence[str]:
        """The candidates' ids, in the order in which they came."""
        return Candidates.of(self.candidates).ids

    @property
    def texts(self) -> Mapping[int, ItemText]:
        """The texts that came with candidates, by their place from 0."""
        return Candidates.of(self.candidates).texts
