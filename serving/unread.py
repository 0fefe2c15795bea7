"""Calls that gRPC drops unread: no code of ours sees them, only its own statistics tell (gRPC's A14: channelz)."""

from __future__ import annotations

import asyncio
import json
from collections import deque
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
# How many calls may be on their way to whoever takes them: of one method, and some of others. With 64, people had been
# dropped for long before it was seen (docs/experiments.md).
_ON_THE_WAY = 40
# After so many looks what is missing is on no way any more.
_LOOKS = 20

_log = structlog.get_logger()


class Unread:
    """Finds out how many calls a server drops that was made with ``UNREAD``, and made last in this process.

    ``taken`` counts the calls that anybody has seen. Those that were not are counted by ``lost``, the last few of them
    a second later, because they cannot be told from those that are on their way; ``dropping`` is told when there are
    more at once than may be. A call that was nobody's, or whose caller left before it was seen, is missing, too.
    """

    def __init__(self, taken: Callable[[], int], lost: Callable[[int], None], dropping: Callable[[int], None]) -> None:
        self._taken, self._lost, self._dropping = taken, lost, dropping
        self._server = _newest()
        self._missing: deque[int] = deque(maxlen=_LOOKS)
        self._known = 0

    def look(self) -> None:
        """Tell of those that are missing since the last look."""
        self.compare(int(_told(cygrpc.channelz_get_server(self._server))["server"]["data"]["callsStarted"]))

    def compare(self, started: int) -> None:
        """Tell of those that are missing of so many that came."""
        self._missing.append(started - self._taken())
        dropped = self._missing[-1] - _ON_THE_WAY - self._known
        gone = min(self._missing) - self._known if len(self._missing) == _LOOKS else 0
        if (more := max(dropped, gone)) > 0:
            self._known += more
            self._lost(more)
        if dropped > 0:
            self._dropping(dropped)

    async def follow(self) -> None:
        """Look twenty times a second, until cancelled."""
        failed = False
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the statistics are gRPC's, and have no contract
                if not failed:
                    _log.error("unread calls not counted", frames=frames_of(error))
                failed = True


def _newest() -> int:
    """Return the number of the server that was made last; they are told in pages."""
    number, told = 0, {"end": False}
    while not told.get("end"):
        told = _told(cygrpc.channelz_get_servers(number + 1))
        number = max([number, *(int(each["ref"]["serverId"]) for each in told.get("server", ()))])
    return number


def _told(answer: bytes) -> Any:
    return json.loads(answer)
