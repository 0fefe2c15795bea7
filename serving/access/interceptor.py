"""Lets a call in or refuses it, before anything of its message is read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog

from recsys.errors import PermissionDenied, Unauthenticated
from serving.access.caller import ANYBODY, Caller, now_calls
from serving.access.certificates import Certificates
from serving.access.roles import OPEN, role_of
from serving.access.tokens import Tokens
from serving.logging import frames_of
from serving.status import status_of

_log = structlog.get_logger()

_MAKE = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

Admit = Callable[[Any], Awaitable[Caller]]


class AccessInterceptor:
    """Has each method called by those who have its role; without tokens and certificates, anybody has every role.

    A token counts before a certificate. ``serving.access.caller.current`` says in a call who makes it.
    """

    def __init__(self, tokens: Tokens | None = None, certificates: Certificates | None = None) -> None:
        self._tokens = tokens
        self._certificates = certificates

    def wrap(self, path: str, handler: Any) -> Any:
        """Wrap the method's handler; what needs no role passes through, as what does not exist."""
        role = role_of(path)
        if role == OPEN:
            return handler

        async def admit(context: Any) -> Caller:
            began = time.perf_counter()
            caller = None
            try:
                caller = self._caller(context)
                _check_role(caller, role)
            except Exception as error:  # gRPC itself would tell the caller its text
                code, text = status_of(error)
                _log_refusal(path, code, error, caller, began)
                await context.abort(code, text)
                raise  # never reached, which the types do not say
            return caller

        return _guarded(handler, admit)

    def _caller(self, context: Any) -> Caller:
        if self._tokens is None and self._certificates is None:
            return ANYBODY
        metadata = context.invocation_metadata()
        if self._tokens is not None and (sent := [value for key, value in metadata if key == "authorization"]):
            scheme, _, token = sent[0].partition(" ")
            if len(sent) > 1 or scheme.lower() != "bearer":
                raise Unauthenticated("the authorization is not one bearer token; send 'authorization: Bearer TOKEN'")
            return self._tokens.caller_of(token)
        if self._certificates is not None:
            return self._certificates.caller_of(context.auth_context())
        raise Unauthenticated("the call has no token; send metadata 'authorization: Bearer TOKEN'")


def _check_role(caller: Caller, role: str | None) -> None:
    if role is None:
        raise PermissionDenied("this method has no role yet, so nobody may call it; use another one")
    if role not in caller.roles:
        raise PermissionDenied(f"this needs the role {role}, which the caller does not have; have it granted")


def _guarded(handler: Any, admit: Admit) -> Any:
    inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def one(request: Any, context: Any) -> Any:
        now_calls(await admit(context))
        return await inner(request, context)

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        now_calls(await admit(context))
        async for answer in inner(request, context):
            yield answer

    make = _MAKE[handler.request_streaming, handler.response_streaming]
    guard = many if handler.response_streaming else one
    return make(guard, handler.request_deserializer, handler.response_serializer)


def _log_refusal(method: str, code: grpc.StatusCode, error: Exception, caller: Caller | None, began: float) -> None:
    """Write the line that ``serving.status`` writes of a call that was let in, and why this one was not.

    What the door itself says is a phrase of ours, without anything from the call.
    """
    line: dict[str, Any] = {"code": code.name, "ms": round((time.perf_counter() - began) * 1e3, 3)}
    if caller is not None:
        line["caller"] = caller.name
    name = method.rpartition("/")[2]
    if isinstance(error, Unauthenticated | PermissionDenied):
        _log.warning("call", method=name, **line, reason=str(error))
    else:
        _log.error("call", method=name, frames=frames_of(error), **line)
