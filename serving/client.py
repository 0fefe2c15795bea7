"""A small typed client: domain nouns in, domain nouns out, a deadline on every call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import grpc
from grpc import StatusCode

from recsys.errors import InvalidRequest, NotReady, RecsysError
from recsys.schema import Candidate, HistoryEntry, Ranking, RankRequest, Reason
from serving.channel import Credentials, Token, open_aio_channel, open_channel
from serving.convert import info_from_wire, ranking_from_wire, reasons_from_wire, request_to_wire
from serving.event_client import AsyncEventCalls, EventCalls
from serving.info import ModelInfo
from serving.item_calls import AsyncItemCalls, ItemCalls
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc

_DEADLINE_S = 2.0
_RETRY_S = 0.1


class ServiceError(RecsysError):
    """The service failed, or did not answer in time; ``code`` is gRPC's name for it, such as DEADLINE_EXCEEDED."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Asked(TypedDict, total=False):
    """What may be asked beyond user and candidates; see ``recsys.schema.RankRequest``. ``ts`` is now by default."""

    ts: int
    request_id: str
    history: Sequence[HistoryEntry] | None
    query: str
    surface: str
    top_k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A ranking, and by item id what moved each item's score, strongest first."""

    ranking: Ranking
    reasons: Mapping[str, tuple[Reason, ...]]


class RankingClient(EventCalls, ItemCalls):
    """Calls one server, from any number of threads; close it, or use it in a ``with`` block.

    With ``credentials`` by TLS, and then with a bearer ``token`` too, which may be a function that is asked for each
    call. Raises ConfigError where these cannot be used.
    """

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = _DEADLINE_S,
        credentials: Credentials | None = None,
        token: Token | None = None,
    ) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._channel = open_channel(address, credentials, token)
        self._stub = pb_grpc.RankingServiceStub(self._channel)

    def rank(self, user_id: str, candidates: Sequence[str | Candidate], **asked: Unpack[Asked]) -> Ranking:
        """Order the candidates by how likely the user is to click them.

        Raises:
            InvalidRequest: the request cannot be answered as asked.
            NotReady: nothing serves at the address, or not yet, or not any more.
            ServiceError: anything else.
        """
        return self.rank_request(ask(user_id, candidates, **asked))

    def rank_request(self, request: RankRequest) -> Ranking:
        """Send a request that exists already; otherwise as ``rank``."""
        return ranking_from_wire(self._call(self._stub.Rank, request_to_wire(request)))

    def explain(
        self, user_id: str, candidates: Sequence[str | Candidate], *, reasons: int = 5, **asked: Unpack[Asked]
    ) -> Explanation:
        """Rank, and say what moved each item; otherwise as ``rank``."""
        message = request_to_wire(ask(user_id, candidates, **asked), reasons_per_item=reasons)
        return _explanation(self._call(self._stub.Rank, message))

    def model_info(self) -> ModelInfo:
        """Describe the model that answers; raises as ``rank`` does."""
        return info_from_wire(self._call(self._stub.GetModelInfo, pb.GetModelInfoRequest()))

    def wait_until_ready(self, timeout_s: float) -> ModelInfo:
        """Wait for a server that is starting; raises NotReady when the time is over."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                return self.model_info()
            except NotReady:
                if time.monotonic() >= end:
                    raise
                time.sleep(_RETRY_S)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, method: Any, message: Any) -> Any:
        return self._call_within(self._deadline_s, method, message)

    def _call_within(self, deadline_s: float | None, method: Any, message: Any) -> Any:
        try:
            return method(message, timeout=deadline_s)
        except grpc.RpcError as error:
            raise _as_ours(error, self._address, deadline_s) from None


class AsyncRankingClient(AsyncEventCalls, AsyncItemCalls):
    """As ``RankingClient``, for one asyncio event loop; close it, or use it in an ``async with`` block."""

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = _DEADLINE_S,
        credentials: Credentials | None = None,
        token: Token | None = None,
    ) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._channel = open_aio_channel(address, credentials, token)
        self._stub = pb_grpc.RankingServiceStub(self._channel)

    async def rank(self, user_id: str, candidates: Sequence[str | Candidate], **asked: Unpack[Asked]) -> Ranking:
        """Order the candidates, as ``RankingClient.rank``; cancelling the task cancels the request on the server."""
        return await self.rank_request(ask(user_id, candidates, **asked))

    async def rank_request(self, request: RankRequest) -> Ranking:
        """Send a request that exists already."""
        return ranking_from_wire(await self._call(self._stub.Rank, request_to_wire(request)))

    async def explain(
        self, user_id: str, candidates: Sequence[str | Candidate], *, reasons: int = 5, **asked: Unpack[Asked]
    ) -> Explanation:
        """Rank, and say what moved each item."""
        message = request_to_wire(ask(user_id, candidates, **asked), reasons_per_item=reasons)
        return _explanation(await self._call(self._stub.Rank, message))

    async def model_info(self) -> ModelInfo:
        """Describe the model that answers."""
        return info_from_wire(await self._call(self._stub.GetModelInfo, pb.GetModelInfoRequest()))

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Any, message: Any) -> Any:
        return await self._call_within(self._deadline_s, method, message)

    async def _call_within(self, deadline_s: float | None, method: Any, message: Any) -> Any:
        try:
            return await method(message, timeout=deadline_s)
        except grpc.RpcError as error:
            raise _as_ours(error, self._address, deadline_s) from None


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
    )


def _explanation(message: pb.RankResponse) -> Explanation:
    return Explanation(ranking=ranking_from_wire(message), reasons=reasons_from_wire(message))


def _as_ours(error: Any, address: str, deadline_s: float | None) -> RecsysError:
    code, details = error.code(), error.details() or ""
    if code is StatusCode.INVALID_ARGUMENT:
        return InvalidRequest(details)
    # CANCELLED is not the caller's doing here, it is what gRPC makes of a request that meets a closing server.
    if code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
        return NotReady(f"{address} does not serve: {details}; start it with `recsys serve`, or try again later")
    if code is StatusCode.DEADLINE_EXCEEDED and deadline_s is not None:
        return ServiceError(code.name, f"{address} gave no answer within {deadline_s:g} s; allow more, or ask for less")
    return ServiceError(code.name, f"{address} answered {code.name}: {details}; see the server's log")
