"""What a server does beside serving when it is one of several workers (``serving.workers``); alone, nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from serving.config import ServerConfig
from serving.data_directory import ITEMS
from serving.item_follower import ItemFollower
from serving.relay import WriterPort
from serving.servicer import RankingServicer
from serving.worker_settings import SERVES

# The connection to the process that started this one.
_SUPERVISOR = 0


class Worker:
    """One server's part among the workers, to be told of its life; the first one writes for all."""

    def __init__(self, service: str, config: ServerConfig, servicer: RankingServicer) -> None:
        self._config = config
        self._servicer = servicer
        self._port = WriterPort(service, servicer)
        self._follower: ItemFollower | None = None

    async def open(self) -> None:
        """Take what the other workers are told, if this is the first one."""
        await self._port.open(self._config)

    async def begin(self) -> None:
        """Know the items that the first worker knows, from now on; raises StorageError where they cannot be read."""
        live = self._servicer.live
        if self._config.worker > 1 and self._config.data is not None and live is not None:
            # The first worker's directory is the one that the others' lie in.
            self._follower = ItemFollower(self._config.data.parent / ITEMS, live)
            await asyncio.to_thread(self._follower.catch_up)
            self._follower.start()

    def leave_with_supervisor(self, leave: Callable[[], object]) -> None:
        """Have the event loop call ``leave`` when the process that started this one is gone."""
        if self._config.worker:
            loop = asyncio.get_running_loop()
            loop.add_reader(_SUPERVISOR, lambda: (loop.remove_reader(_SUPERVISOR), leave()))

    def serves(self) -> None:
        """Tell who started this one."""
        if self._config.worker:
            os.write(_SUPERVISOR, SERVES)

    async def close(self, grace_s: float) -> None:
        """End all of it, in so many seconds."""
        if self._follower is not None:
            await asyncio.to_thread(self._follower.close)
        await self._port.close(grace_s)
