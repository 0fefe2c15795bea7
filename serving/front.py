"""Looks at a ranking before its message is read: who is refused here costs neither reading nor parsing, and no line.

On the wire, one message and a stream of messages begin alike; so the method is served as a stream, whose only message
is read once the caller is let in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from recsys.errors import Overloaded
from serving.status import refuse

# Given how many seconds the caller allows, None where it says nothing; raises Overloaded.
Knock = Callable[[float | None], None]


class FrontInterceptor:
    """Has ``knock`` asked about every call of one method; to stand behind the door, which says who calls."""

    def __init__(self, method: str, knock: Knock) -> None:
        self._method = method
        self._knock = knock

    def wrap(self, path: str, handler: Any) -> Any:
        """Wrap the method's handler; others pass through."""
        if path != self._method:
            return handler

        async def looked_at(_: Any, context: Any) -> Any:
            try:
                self._knock(context.time_remaining())
            except Overloaded as error:
                await refuse(context, error)
            message = await context.read()
            # Who sends nothing has sent an empty message, as far as anybody can tell.
            return await handler.unary_unary(message if isinstance(message, bytes) else b"", context)

        return grpc.stream_unary_rpc_method_handler(looked_at, None, handler.response_serializer)
