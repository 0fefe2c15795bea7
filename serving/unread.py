"""Calls that gRPC drops unread: no code of ours sees them, only its own statistics tell (gRPC's A14: channelz)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import structlog

# What the package grpcio-channelz asks, too, to say the same as messages.
from grpc._cython import cygrpc

from serving.logging import frames_of

# How many requests of one method may wait to be read. When the event loop cannot even refuse as fast as they come, gRPC
# drops them itself, at a fifth of the cost: from the second number on. Callers see CANCELLED. A page may ask for 20
# lists at once, and what waits is read within 25 ms (docs/experiments.md).
_WAITS, _DROPPED = 24, 25
UNREAD = (
    ("grpc.server.max_pending_requests", _WAITS),
    ("grpc.server.max_pending_requests_hard_limit", _DROPPED),
    ("grpc.enable_channelz", 1),
)
_EVERY_S = 0.05
# How many calls may be on their way to whoever takes them: those that wait, and some of other methods.
_ON_THE_WAY = 32

_log = structlog.get_logger()


class Unread:
    """Finds out how many calls a server drops that was made with ``UNREAD``, and made last in this process.

    ``taken`` counts the calls that anybody has seen; ``dropped`` is told how many more were not. They cannot be told
    from those that are on their way, so it never hears of the last 32.
    """

    def __init__(self, taken: Callable[[], int], dropped: Callable[[int], None]) -> None:
        self._taken, self._dropped = taken, dropped
        self._server = _newest()
        self._known = 0

    def look(self) -> None:
        """Tell of those that were dropped since the last look."""
        started = int(_told(cygrpc.channelz_get_server(self._server))["server"]["data"]["callsStarted"])
        if (more := started - self._taken() - _ON_THE_WAY - self._known) > 0:
            self._known += more
            self._dropped(more)

    async def follow(self) -> None:
        """Look twenty times a second, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the statistics are gRPC's, and have no contract
                _log.error("unread calls not counted", frames=frames_of(error))
                return


def _newest() -> int:
    """Return the number of the server that was made last; they are told in pages."""
    number, told = 0, {"end": False}
    while not told.get("end"):
        told = _told(cygrpc.channelz_get_servers(number + 1))
        number = max([number, *(int(each["ref"]["serverId"]) for each in told.get("server", ()))])
    return number


def _told(answer: bytes) -> Any:
    return json.loads(answer)
