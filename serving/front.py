"""Looks at a ranking before its message is read: who is refused here costs neither reading nor parsing, and no line.

On the wire, one message and a stream of messages begin alike; so methods of one message are served as streams, whose
only message is read once the caller is let in, and read whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from recsys.errors import Overloaded
from serving.status import end_with

# Given how many seconds the caller allows, None where it says nothing; raises Overloaded.
Knock = Callable[[float | None], None]


class FrontInterceptor:
    """Reads the message of every method of one service that has one; to stand behind the door, which says who calls.

    ``knocks`` has what is asked before that about every call of a method.
    """

    def __init__(self, service: str, knocks: Mapping[str, Knock]) -> None:
        self._prefix = f"/{service}/"
        self._knocks = knocks

    def wrap(self, path: str, handler: Any) -> Any:
        """Wrap the method's handler; others pass through."""
        if handler.unary_unary is None or not path.startswith(self._prefix):
            return handler
        knock = self._knocks.get(path.removeprefix(self._prefix))

        async def looked_at(_: Any, context: Any) -> Any:
            if knock is not None:
                try:
                    knock(context.time_remaining())
                except Overloaded as error:
                    await end_with(error, context)
            message = await read_whole(context)
            # Who sends nothing has sent an empty message, as far as anybody can tell.
            return await handler.unary_unary(message if isinstance(message, bytes) else b"", context)

        return grpc.stream_unary_rpc_method_handler(looked_at, None, handler.response_serializer)


async def read_whole(context: Any) -> Any:
    """Read a message, and be cancelled only then; what ``context.read`` returns.

    Cancelled amid the read, gRPC's Python (1.85.1) never gives back what it has allocated for it: 60 bytes of each
    cancelled ranking, by the mean (docs/experiments.md). Where the caller has gone, the read ends at once by itself.
    """
    task: Any = asyncio.current_task()
    cancelled = False

    def note(msg: object = None) -> bool:  # noqa: ARG001 - as asyncio.Task.cancel
        nonlocal cancelled
        cancelled = True
        return True

    task.cancel = note  # the task's own goes before that of its class
    try:
        message = await context.read()
    finally:
        del task.cancel
    if cancelled:
        raise asyncio.CancelledError
    return message
