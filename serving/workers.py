"""Several server processes on one port: starts them, starts one anew that died, and has all of them leave together.

Each worker is a program of its own, never a fork, because gRPC's threads do not survive one. It has one connection to
the process that started it, as its standard input: a byte of the worker's says that it serves, and the end of the
connection tells it to leave, so that no worker outlives who started it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import structlog

from recsys.errors import ConfigError, NotReady
from serving.config import ServerConfig
from serving.logging import configure_logging
from serving.port import held_port
from serving.worker_settings import SERVES

# How long to wait before a worker is started anew, in seconds: doubled each time, until one has served for so long.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_STEADY_S = 60.0

_log = structlog.get_logger()


def run_workers(config: ServerConfig, command: Sequence[str]) -> None:
    """Have ``config.workers`` processes serve on one port until SIGTERM or SIGINT.

    ``command`` starts one of them, which takes all its settings from the environment. Leaves the process with status 1
    when one of them did not end as it should.

    Raises:
        ConfigError: the port is taken, or workers with a data directory have no store; nothing was started.
        NotReady: a worker ended before it had served; the others were stopped.
    """
    if config.data is not None and not config.store:
        raise ConfigError(
            "each of several workers would know only what it was told itself; name a store that they share with "
            "--store redis://HOST:PORT/DB, keep nothing with --no-data, or serve with one worker"
        )
    configure_logging(config.log_level)
    with held_port(config.host, config.port) as port, tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        writer = f"unix:{folder}/writer"
        settings = [worker_config(config, n, port=port, writer=writer) for n in range(1, config.workers + 1)]
        drained = asyncio.run(_Workers([each.as_environment(os.environ) for each in settings], command).run())
    if not drained:
        sys.exit(1)


def worker_config(config: ServerConfig, number: int, *, port: int, writer: str) -> ServerConfig:
    """Return the settings of one worker, from 1: its ports, its threads, its data directory.

    The first one keeps the directory that a server alone would have, so that events and items stay where they are when
    there come to be several.
    """
    changed = {"worker": number, "port": port, "writer": writer}
    for name in ("metrics_port", "admin_port"):
        if first := getattr(config, name):  # 0 lets the system choose
            changed[name] = first + number - 1
    if "threads" not in config.model_fields_set:
        changed["threads"] = max(1, config.threads // config.workers)
    if config.data is not None and number > 1:
        changed["data"] = config.data / f"worker-{number}"
    return config.model_copy(update=changed)


class _Workers:
    def __init__(self, environments: Sequence[Mapping[str, str]], command: Sequence[str]) -> None:
        self._environments = environments
        self._command = command
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._serving = set[int]()

    async def run(self) -> bool:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        _log.info("starting", workers=len(self._environments))
        lives = [self._keep(number) for number in range(1, len(self._environments) + 1)]
        ended = await asyncio.gather(*map(self._or_all_stop, lives), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each
        # Who had not begun to listen for the signal yet has nothing to finish.
        drained = all(status in (0, -signal.SIGTERM) for status in ended)
        _log.info("stopped", drained=drained)
        return drained

    def _stop(self) -> None:
        self._stopping.set()
        for process in self._running.values():
            if process.returncode is None:
                process.terminate()

    async def _or_all_stop(self, life: Coroutine[Any, Any, int]) -> int:
        try:
            return await life
        except BaseException:
            self._stop()
            raise

    async def _keep(self, number: int) -> int:
        """Keep one worker running; returns the status with which it ended after everybody was told to."""
        served_once, pause_s = False, _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            status, served = await self._live(number)
            if self._stopping.is_set():
                return status
            served_once |= served
            if not served_once:
                raise NotReady(
                    f"worker {number} ended with status {status} before it served; correct what it says above, and "
                    "start again"
                )
            if time.monotonic() - began > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            _log.error("worker died", worker=number, status=status, again_in_s=pause_s)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            except TimeoutError:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return 0

    async def _live(self, number: int) -> tuple[int, bool]:
        """Run one process from its start to its end; returns its status, and whether it came to serve."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=theirs.fileno(),
                    env=self._environments[number - 1],
                    # A terminal's Ctrl-C would reach it before it can leave in good order.
                    start_new_session=True,
                )
            self._running[number] = process
            if self._stopping.is_set():
                process.terminate()
            ours.setblocking(False)  # noqa: FBT003 - its name says it
            heard = asyncio.create_task(self._heard(number, ours))
            status = await process.wait()
            self._serving.discard(number)
            served = heard.done() and heard.result()
            heard.cancel()
            return status, served

    async def _heard(self, number: int, connection: socket.socket) -> bool:
        """Wait until a worker says that it serves; False if it ends before."""
        try:
            said = await asyncio.get_running_loop().sock_recv(connection, 1)
        except ConnectionError:
            said = b""
        if said == SERVES:
            self._serving.add(number)
            _log.info("worker serves", worker=number, pid=self._running[number].pid)
            if len(self._serving) == len(self._environments):
                _log.info("all serve", workers=len(self._serving))
        return said == SERVES
