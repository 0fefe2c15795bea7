"""Errors to gRPC status codes; nothing else decides what a caller is told about a failure."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import StatusCode
from structlog.contextvars import bind_contextvars

from recsys.errors import (
    InvalidRequest,
    NoEventLog,
    NotReady,
    NotRecorded,
    Overloaded,
    PermissionDenied,
    RecsysError,
    SwapRefused,
    TooLate,
    Unauthenticated,
    UnknownBundle,
)
from serving.logging import frames_of
from serving.wire_limits import LIMITS, Limit, check_counts

STATUS: dict[type[RecsysError], StatusCode] = {
    InvalidRequest: StatusCode.INVALID_ARGUMENT,
    NotReady: StatusCode.UNAVAILABLE,
    NotRecorded: StatusCode.UNAVAILABLE,
    Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    TooLate: StatusCode.DEADLINE_EXCEEDED,
    UnknownBundle: StatusCode.NOT_FOUND,
    SwapRefused: StatusCode.FAILED_PRECONDITION,
    NoEventLog: StatusCode.FAILED_PRECONDITION,
    Unauthenticated: StatusCode.UNAUTHENTICATED,
    PermissionDenied: StatusCode.PERMISSION_DENIED,
}

# gRPC's name for the trailer by which a server says when to come back, in milliseconds.
PUSHBACK = "grpc-retry-pushback-ms"
# By how much of it a pushback is longer at most. gRPC's own clients add no jitter to it (A6), and all who were refused
# at one moment would come back at another (Brooker, "Exponential Backoff And Jitter", AWS 2015).
_SPREAD = 0.25

_log = structlog.get_logger()


def status_of(error: Exception) -> tuple[StatusCode, str]:
    """Return the code and the text that a caller gets; whatever has no code of its own stays with us."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls], str(error)
    return StatusCode.INTERNAL, "internal error"


class StatusInterceptor:
    """Guards every method of one service that has one answer: parses, answers its errors, logs one line per call."""

    def __init__(self, service: str) -> None:
        self._prefix = f"/{service}/"

    def wrap(self, path: str, handler: Any) -> Any:
        """Wrap the method's handler; other services, such as health, pass through."""
        if handler.response_streaming or not path.startswith(self._prefix):
            return handler
        method = path.removeprefix(self._prefix)
        limit = LIMITS.get(method)

        async def guarded(data: bytes, context: Any) -> Any:
            bind_contextvars(method=method)  # until the end of the call's task
            return await _answer(lambda: handler.unary_unary(_parse(handler, data, limit), context), context)

        async def guarded_stream(parts: AsyncIterator[bytes], context: Any) -> Any:
            async def requests() -> AsyncIterator[Any]:
                async for data in parts:
                    yield _parse(handler, data, limit)

            bind_contextvars(method=method)
            return await _answer(lambda: handler.stream_unary(requests(), context), context)

        # No deserialisers here: gRPC itself would answer INTERNAL to bytes that it cannot parse.
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(guarded_stream, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(guarded, None, handler.response_serializer)


async def _answer(call: Callable[[], Awaitable[Any]], context: Any) -> Any:
    started = time.perf_counter()
    try:
        response = await call()
        _check_heard(context)
    except asyncio.CancelledError:
        _log.info("call", code="DEADLINE_EXCEEDED" if _expired(context) else "CANCELLED", ms=_ms_since(started))
        raise
    except Exception as error:
        code, _ = status_of(error)
        if isinstance(error, Overloaded):
            pass  # it has no line of its own (``serving.refusals``)
        elif code is StatusCode.INTERNAL:
            _log.error("call", code=code.name, ms=_ms_since(started), frames=frames_of(error))
        else:
            _log.warning("call", code=code.name, ms=_ms_since(started))
        await end_with(error, context)
        raise  # never reached, which the types do not say
    # The answer leaves first: its line costs more than anything else around a ranking. It has this call's context.
    asyncio.get_running_loop().call_soon(partial(_log.info, "call", code="OK", ms=_ms_since(started)))
    return response


async def end_with(error: Exception, context: Any) -> None:
    """End a call with an error's code. Raises what gRPC raises, or CancelledError where nobody hears it any more."""
    code, text = status_of(error)
    context.set_code(code)  # for who counts, where nothing is sent
    _check_heard(context)
    await context.abort(code, text, _trailers(error))


def _check_heard(context: Any) -> None:
    """End a call without a word, by CancelledError, where its caller's own deadline has passed.

    gRPC's Python (1.85.1) never gives back what it has prepared for an answer that it cannot send, 430 bytes.
    """
    if _expired(context):
        raise asyncio.CancelledError


def _expired(context: Any) -> bool:
    left = context.time_remaining()
    return left is not None and left <= 0


def _trailers(error: Exception) -> tuple[tuple[str, str], ...]:
    """Tell a caller who was refused when to come back (gRPC's A6: retries)."""
    if isinstance(error, Overloaded) and error.after_s is not None:
        after_s = error.after_s * random.uniform(1, 1 + _SPREAD)
        return ((PUSHBACK, str(round(1e3 * after_s))),)
    return ()


def _parse(handler: Any, data: bytes, limit: Limit | None) -> Any:
    if limit is not None:
        check_counts(data, limit)
    try:
        return handler.request_deserializer(data)
    except DecodeError:
        raise InvalidRequest(
            "the bytes are not a message of this method, or a text in it is not UTF-8; "
            "generate the client from ranking.proto and send UTF-8"
        ) from None


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 3)
