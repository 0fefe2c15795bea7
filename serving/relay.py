"""What one of several workers is told goes to the first one, which alone writes; the others read what it has written.

One writer keeps what one server promises: a click finds its list, an event counts once, and items change in one order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc import StatusCode, aio

from recsys.errors import InvalidRequest, NoEventLog, NotReady, Overloaded, RecsysError, TooLate
from serving.config import ServerConfig
from serving.final_status import answer_of
from serving.interceptors import Interceptors
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.servicer import RankingServicer
from serving.status import PUSHBACK, StatusInterceptor

_ITEMS = ("UpsertItems", "DeleteItems")
_WRITES = ("RecordEvents", "StreamEvents", *_ITEMS)

# A worker that was started anew is to be found at once.
_SOON = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))

_ERRORS: dict[StatusCode, type[RecsysError]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequest,
    StatusCode.FAILED_PRECONDITION: NoEventLog,
    StatusCode.DEADLINE_EXCEEDED: TooLate,
}


class RelayInterceptor:
    """Answers what writes by asking the first worker, in each of the others; to stand behind all other interceptors."""

    def __init__(self, service: str, config: ServerConfig) -> None:
        self._prefix = f"/{service}/"
        self._relays = config.worker > 1
        self._keeps = config.data is not None
        self._stub: Any = None
        if self._relays:
            self._stub = pb_grpc.RankingServiceStub(aio.insecure_channel(config.writer, options=_SOON))

    def wrap(self, path: str, handler: Any) -> Any:
        """Take the handler's place for methods that write; all others pass through."""
        name = path.removeprefix(self._prefix)
        if name in _ITEMS and not self._keeps:
            return _made_like(handler, _refused)
        if name not in _WRITES or not self._relays:
            return handler
        method = getattr(self._stub, name)

        async def relayed(request: Any, context: Any) -> Any:
            return await _asked(method(request, timeout=context.time_remaining()))

        async def relayed_stream(requests: AsyncIterator[Any], context: Any) -> Any:
            faults: list[Exception] = []
            call = method(_noting(requests, faults), timeout=context.time_remaining())
            try:
                return await _asked(answer_of(call))
            except (NotReady, asyncio.CancelledError):
                # gRPC ends a call whose messages cannot be had, and says no more than that.
                if faults:
                    raise faults[0] from None
                raise

        return _made_like(handler, relayed_stream if handler.request_streaming else relayed)


class WriterPort:
    """Where the first worker takes what the others are told, from ``open`` to ``close``.

    Whoever calls was let in by the worker that asks here; the socket lies in a directory of this user's own.
    """

    def __init__(self, service: str, servicer: RankingServicer) -> None:
        self._service = service
        self._servicer = servicer
        self._server: aio.Server | None = None

    async def open(self, config: ServerConfig) -> None:
        """Listen, where this is the first of several workers."""
        if config.worker != 1:
            return
        self._server = aio.server(
            interceptors=[Interceptors(StatusInterceptor(self._service))],
            options=[("grpc.max_receive_message_length", config.max_message_bytes)],
        )
        pb_grpc.add_RankingServiceServicer_to_server(self._servicer, self._server)
        self._server.add_insecure_port(config.writer)
        await self._server.start()

    async def close(self, grace_s: float) -> None:
        """Stop listening, in so many seconds."""
        if self._server is not None:
            await self._server.stop(grace_s)


def _made_like(handler: Any, answer: Callable[..., Awaitable[Any]]) -> Any:
    make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    return make(answer, handler.request_deserializer, handler.response_serializer)


async def _refused(_request: Any, _context: Any) -> Any:
    raise NoEventLog("several workers keep items in step by a data directory; start them with --data and --store")


async def _noting(requests: AsyncIterator[Any], faults: list[Exception]) -> AsyncIterator[Any]:
    try:
        async for request in requests:
            yield request
    except Exception as error:
        faults.append(error)
        raise


async def _asked(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except aio.AioRpcError as error:
        raise _as_ours(error) from None


def _as_ours(error: aio.AioRpcError) -> Exception:
    code, details = error.code(), error.details() or ""
    if code is StatusCode.RESOURCE_EXHAUSTED:
        trailers: Any = error.trailing_metadata()
        after_ms = dict(trailers).get(PUSHBACK)
        return Overloaded(details, after_s=None if after_ms is None else int(after_ms) / 1e3)
    if code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
        # What gRPC itself says of a connection names the socket.
        return NotReady("the worker that records is not there; send it again" if "unix:" in details else details)
    return _ERRORS[code](details) if code in _ERRORS else error
