"""What is asked and what comes back, in the client's words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

from recsys.errors import NotReady
from recsys.events import time_ordered_id
from recsys.schema import Candidate, HistoryEntry, Ranking, RankRequest, Reason
from serving.convert import ranking_from_wire, reasons_from_wire
from serving.pb import ranking_pb2 as pb


class Asked(TypedDict, total=False):
    """What may be asked beyond user and candidates; see ``recsys.schema.RankRequest``. ``ts`` is now by default."""

    ts: int
    request_id: str
    history: Sequence[HistoryEntry] | None
    query: str
    surface: str
    top_k: int
    bundle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A ranking, and by item id what moved each item's score, strongest first."""

    ranking: Ranking
    reasons: Mapping[str, tuple[Reason, ...]]


def ask(user_id: str, candidates: Sequence[str | Candidate], **asked: Unpack[Asked]) -> RankRequest:
    """Build a request; a candidate that is only an id may be a plain string.

    Raises:
        InvalidRequest: the request is one that no server would answer.
    """
    history = asked.get("history")
    return RankRequest(
        user_id=user_id,
        candidates=tuple(Candidate(item_id=item) if isinstance(item, str) else item for item in candidates),
        ts=asked.get("ts") or time.time_ns() // 1_000,
        request_id=asked.get("request_id", ""),
        history=None if history is None else tuple(history),
        query=asked.get("query", ""),
        surface=asked.get("surface", ""),
        top_k=asked.get("top_k", 0),
        bundle=asked.get("bundle", ""),
    )


def named(request: RankRequest) -> RankRequest:
    """Give a request an id where it has none: all tries are to be one request to whoever reads the servers' logs."""
    return request if request.request_id else replace(request, request_id=time_ordered_id(time.time_ns() // 1_000))


def ranking_of(request: RankRequest, message: pb.RankResponse) -> Ranking:
    """Read the ranking of a request that was sent in columns where it could be.

    Raises:
        NotReady: the server is older than ``RankRequest.candidate_ids``, so that it saw no candidates.
    """
    if request.candidates and not (message.columns.places or message.items):
        raise NotReady("the server does not know candidate_ids; upgrade the servers before their clients")
    return ranking_from_wire(message, request.item_ids)


def explanation_from_wire(message: pb.RankResponse) -> Explanation:
    """Read a ranking with its reasons."""
    return Explanation(ranking=ranking_from_wire(message), reasons=reasons_from_wire(message))
