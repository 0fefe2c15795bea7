"""The client for threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from grpc import StatusCode

from recsys.errors import NotReady, RecsysError
from recsys.schema import Candidate, Ranking, RankRequest
from serving.client.asked import Asked, Explanation, ask, explanation_from_wire, named, ranking_of
from serving.client.channel import Credentials, Token, open_channel
from serving.client.dispatch import TRIES, Dispatch
from serving.client.ended import ServiceError
from serving.client.event_calls import EventCalls
from serving.client.fallback import Fallback, instead
from serving.client.hedge_delay import HedgeAfter
from serving.client.item_calls import ItemCalls
from serving.client.lead import lead
from serving.convert import info_from_wire, request_to_wire
from serving.info import ModelInfo
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc

DEADLINE_S = 2.0

_POLL_S = 0.1


class RankingClient(EventCalls, ItemCalls):
    """Calls one server, or several alike, from any number of threads; close it, or use it in a ``with`` block.

    Each call ends within ``deadline_s``, all of its tries and waits included: at most ``tries``, and in all at most a
    tenth more than calls. Where the first server has not answered a ranking after ``hedge_after_s`` (seconds, or
    ``P95`` of late), a second one is asked too. ``fallback`` gives an order where none answers; ``SHOWN_ORDER`` is one.
    With ``credentials`` it calls by TLS, then with a bearer ``token`` too, which may be a function asked at each call.

    Raises:
        ConfigError: a setting is out of range, or needs a second address; credentials cannot be used.
    """

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
        self._channels = [open_channel(each, credentials, token) for each in self._addresses]
        self._stubs = [pb_grpc.RankingServiceStub(channel) for channel in self._channels]

    def rank(
        self,
        user_id: str,
        candidates: Sequence[str | Candidate],
        *,
        fallback: Fallback | None = None,
        **asked: Unpack[Asked],
    ) -> Ranking:
        """Order the candidates by how likely the user is to click them.

        With a ``fallback``, here or in the constructor, NotReady and ServiceError become its order, and the ranking's
        ``degraded`` says ``recsys.schema.CLIENT_FALLBACK``.

        Raises:
            InvalidRequest: the request cannot be answered as asked.
            NotReady: nothing serves at the address, or not yet, or not any more.
            ServiceError: anything else.
        """
        return self.rank_request(ask(user_id, candidates, **asked), fallback=fallback)

    def rank_request(self, request: RankRequest, *, fallback: Fallback | None = None) -> Ranking:
        """Send a request that exists already; otherwise as ``rank``."""
        request = named(request)
        message = request_to_wire(request, columns=True)
        try:
            return ranking_of(request, self._call("Rank", message, hedged=True))
        except RecsysError as error:
            return instead(error, request, self._fallback if fallback is None else fallback)

    def explain(
        self, user_id: str, candidates: Sequence[str | Candidate], *, reasons: int = 5, **asked: Unpack[Asked]
    ) -> Explanation:
        """Rank, and say what moved each item; otherwise as ``rank``, without second servers and fallback."""
        request = named(ask(user_id, candidates, **asked))
        return explanation_from_wire(self._call("Rank", request_to_wire(request, reasons_per_item=reasons)))

    def model_info(self) -> ModelInfo:
        """Describe the model that answers; raises as ``rank`` does."""
        return info_from_wire(self._call("GetModelInfo", pb.GetModelInfoRequest()))

    def wait_until_ready(self, timeout_s: float) -> ModelInfo:
        """Wait for a server that is starting; raises NotReady when the time is over."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                return info_from_wire(self._call_once("GetModelInfo", pb.GetModelInfoRequest(), self._deadline_s))
            except NotReady:
                if time.monotonic() >= end:
                    raise
                time.sleep(_POLL_S)
            except ServiceError as error:
                if error.code != StatusCode.DEADLINE_EXCEEDED.name:
                    raise
                if time.monotonic() >= end:
                    raise NotReady(str(error)) from error

    def close(self) -> None:
        """Close the connections; calls that still run fail."""
        self._dispatch.closed = True
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, method: str, message: Any, *, hedged: bool = False) -> Any:
        return self._led(method, message, self._deadline_s, hedged=hedged)

    def _call_once(self, method: str, message: Any, deadline_s: float | None) -> Any:
        return self._led(method, message, deadline_s, once=True)

    def _led(self, method: str, message: Any, deadline_s: float | None, **how: bool) -> Any:
        course = self._dispatch.course(deadline_s, **how)
        ended = lead(course, [getattr(stub, method) for stub in self._stubs], message)
        if not ended.answered:
            raise ended.as_ours(self._addresses[ended.lane], deadline_s)
        return ended.answer
