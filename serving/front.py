"""Looks at a ranking before its message is read: who is refused here costs neither reading nor parsing, and no line.

On the wire, one message and a stream of messages begin alike; so methods of one message are served as streams, whose
only message is read once the caller is let in, and read whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from recsys.errors import InvalidRequest, Overloaded
from serving.status import end_with

# Given how many seconds the caller allows, None where it says nothing; raises Overloaded.
Knock = Callable[[float | None], None]

# Within this a server has heard that a caller has gone whose message does not come.
_GONE_S = 1.0


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
            if not isinstance(message, bytes):
                # The caller has gone, and the end of the task is on its way; or has sent no message, and waits.
                await asyncio.sleep(_GONE_S)
                await end_with(InvalidRequest("the call has no message; send one"), context)
            return await handler.unary_unary(message, context)

        return grpc.stream_unary_rpc_method_handler(looked_at, None, handler.response_serializer)


async def read_whole(context: Any) -> Any:
    """Read a message, and be cancelled only then; what ``context.read`` returns.

    Cancelled amid the read, gRPC's Python (1.85.1) never gives back what it has allocated for it, 96 bytes. Where the
    caller has gone, the read ends at once by itself; where it does not within a second, it is broken off.
    """
    task: Any = asyncio.current_task()
    loop = asyncio.get_running_loop()
    breaks_off: asyncio.TimerHandle | None = None

    def note(msg: object = None) -> bool:  # noqa: ARG001 - as asyncio.Task.cancel
        nonlocal breaks_off
        if breaks_off is None:
            breaks_off = loop.call_later(_GONE_S, asyncio.Task.cancel, task)
        return True

    task.cancel = note  # the task's own goes before that of its class
    try:
        return await context.read()
    finally:
        del task.cancel
        if breaks_off is not None:
            breaks_off.cancel()
            raise asyncio.CancelledError
