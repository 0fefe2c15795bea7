"""What stands between gRPC and a method's handler, put together once for each method instead of at each call.

gRPC asks every interceptor for a handler at every call, one inside the other; that is some 15 µs for four of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc
from grpc import aio


class Interceptor(Protocol):
    """One of those that stand before a handler."""

    def wrap(self, path: str, handler: Any) -> Any:
        """Return what takes the handler's place at ``/service/method``, or the handler itself."""
        ...


class Interceptors(aio.ServerInterceptor):  # type: ignore[type-arg] # generic only in the stubs
    """Several interceptors as one, the first of which sees a call first; ``taken`` counts calls, whatever they are."""

    def __init__(self, *interceptors: Interceptor) -> None:
        self.taken = 0
        self._interceptors = interceptors
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the wrapped handler; None for what is not served, of which nothing is kept."""
        self.taken += 1
        path: Any = handler_call_details.method
        if (known := self._wrapped.get(path)) is not None:
            return known
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        for interceptor in reversed(self._interceptors):
            handler = interceptor.wrap(path, handler)
        self._wrapped[path] = handler
        return handler
