"""The final status of a stream that the server ends before all of it was sent.

``grpc.aio`` may lose it: where a write fails as the call ends, ``INTERNAL: Internal error from Core`` takes its place
(grpc/grpc#36066; in about one of thirty such calls with grpcio 1.85.1). This module can go once that is mended there.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from grpc import StatusCode, aio

_LOST = (StatusCode.INTERNAL, "Internal error from Core")


async def answer_of(call: Any) -> Any:
    """Await the answer of a call, of one message or of a stream; only streams lose their status.

    Raises:
        aio.AioRpcError: with the status that the server sent.
    """
    came: list[aio.AioRpcError] = []

    def note(ended: Any) -> None:
        # At the moment when it comes, because what follows may write over it.
        code, details, trailers = map(_had, (ended.code(), ended.details(), ended.trailing_metadata()))
        if code not in (None, StatusCode.OK):
            came.append(aio.AioRpcError(code, aio.Metadata(), trailers or aio.Metadata(), details, ""))

    call.add_done_callback(note)
    try:
        return await call
    except aio.AioRpcError as error:
        if came and (error.code(), error.details()) == _LOST:
            raise came[0] from None
        raise


def _had(value: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns without a pause, as those of an ended call do; None of one that waits."""
    try:
        value.send(None)
    except StopIteration as stop:
        return stop.value
    value.close()
    return None
