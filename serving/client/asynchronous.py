"""The client for asyncio."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from recsys.errors import RecsysError
from recsys.schema import Candidate, Ranking, RankRequest
from serving.client.asked import Asked, Explanation, ask, explanation_from_wire, named, ranking_of
from serving.client.blocking import DEADLINE_S
from serving.client.channel import Credentials, Token, open_aio_channel
from serving.client.dispatch import TRIES, Dispatch
from serving.client.event_calls import AsyncEventCalls
from serving.client.fallback import Fallback, instead
from serving.client.hedge_delay import HedgeAfter
from serving.client.item_calls import AsyncItemCalls
from serving.client.lead import lead_async
from serving.convert import info_from_wire, request_to_wire
from serving.info import ModelInfo
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc


class AsyncRankingClient(AsyncEventCalls, AsyncItemCalls):
    """As ``RankingClient``, for one asyncio event loop; close it, or use it in an ``async with`` block."""

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        deadline_s: float = DEADLINE_S,
        tries: int = TRIES,
        hedge_after_s: HedgeAfter | None = None,
        fallback: Fallback | None = None,
        credentials: Credentials | None = None,
        token: Token | None = None,
    ) -> None:
        self._addresses = (address,) if isinstance(address, str) else tuple(address)
        self._dispatch = Dispatch(len(self._addresses), tries=tries, hedge_after_s=hedge_after_s)
        self._deadline_s = deadline_s
        self._fallback = fallback
        self._channels = [open_aio_channel(each, credentials, token) for each in self._addresses]
        self._stubs = [pb_grpc.RankingServiceStub(channel) for channel in self._channels]

    async def rank(
        self,
        user_id: str,
        candidates: Sequence[str | Candidate],
        *,
        fallback: Fallback | None = None,
        **asked: Unpack[Asked],
    ) -> Ranking:
        """Order the candidates, as ``RankingClient.rank``; cancelling the task cancels the request on the server."""
        return await self.rank_request(ask(user_id, candidates, **asked), fallback=fallback)

    async def rank_request(self, request: RankRequest, *, fallback: Fallback | None = None) -> Ranking:
        """Send a request that exists already."""
        request = named(request)
        message = request_to_wire(request, columns=True)
        try:
            return ranking_of(request, await self._call("Rank", message, hedged=True))
        except RecsysError as error:
            return instead(error, request, self._fallback if fallback is None else fallback)

    async def explain(
        self, user_id: str, candidates: Sequence[str | Candidate], *, reasons: int = 5, **asked: Unpack[Asked]
    ) -> Explanation:
        """Rank, and say what moved each item."""
        request = named(ask(user_id, candidates, **asked))
        return explanation_from_wire(await self._call("Rank", request_to_wire(request, reasons_per_item=reasons)))

    async def model_info(self) -> ModelInfo:
        """Describe the model that answers."""
        return info_from_wire(await self._call("GetModelInfo", pb.GetModelInfoRequest()))

    async def close(self) -> None:
        """Close the connections."""
        self._dispatch.closed = True
        for channel in self._channels:
            await channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, message: Any, *, hedged: bool = False) -> Any:
        return await self._led(method, message, self._deadline_s, hedged=hedged)

    async def _call_once(self, method: str, message: Any, deadline_s: float | None) -> Any:
        return await self._led(method, message, deadline_s, once=True)

    async def _led(self, method: str, message: Any, deadline_s: float | None, **how: bool) -> Any:
        course = self._dispatch.course(deadline_s, **how)
        ended = await lead_async(course, [getattr(stub, method) for stub in self._stubs], message)
        if not ended.answered:
            raise ended.as_ours(self._addresses[ended.lane], deadline_s)
        return ended.answer
