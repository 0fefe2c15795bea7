"""A process that serves, from its first line in the log to its exit status."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog
import uvloop

from recsys.errors import RecsysError
from recsys.gpu import GPU, GpuState
from serving.config import ServerConfig
from serving.load import load_current
from serving.logging import configure_logging
from serving.model import Model
from serving.server import RankingServer

_log = structlog.get_logger()


def run_server(config: ServerConfig, load_model: Callable[[Path], Model] = load_current) -> None:
    """Serve the registry's current bundle until SIGTERM or SIGINT.

    Leaves the process at once, with status 1, when requests were still being computed at the end of the grace; and so
    it does, with status 0 where it was drained, when its GPU was lost.

    Raises:
        RecsysError: the bundle cannot be loaded, the address cannot be listened on, or the data directory cannot be
            used; nothing was served.
    """
    configure_logging(config.log_level, worker=config.worker)
    if unknown := ServerConfig.unknown(os.environ):
        _log.warning("unknown settings", variables=unknown)
    server = RankingServer(config, load_model)
    server.give_way()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            drained = runner.run(server.run())
    except RecsysError as error:
        _log.error("not started", reason=str(error))
        raise
    if server.computing or GPU.state is GpuState.LOST:
        # Python would wait for its threads, however long they take, and so break the promised grace. What a lost GPU
        # has recorded cannot be freed (``GpuTurns.keep_for_ever``).
        os._exit(0 if drained else 1)
