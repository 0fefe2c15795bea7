"""The server's life: listen, load, warm up, serve, drain, leave."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import structlog
from grpc import aio
from grpc_health.v1 import health, health_pb2

from recsys.errors import ConfigError
from serving.access.door import Door, open_door
from serving.access.renewed import Renewed
from serving.admin import AdminPort, AdminServicer
from serving.admission import admission_by
from serving.config import ServerConfig
from serving.data_directory import DataDirectory
from serving.event_intake import EventIntake
from serving.event_writer import EventWriter
from serving.garbage import set_aside
from serving.interned import make_room
from serving.listen import SERVICE, listening
from serving.load import load_beside, load_current
from serving.loaded import Loaded
from serving.model import Model
from serving.operations import Operations
from serving.precedence import give_way
from serving.preparation import Preparation
from serving.pseudonyms import Pseudonyms
from serving.quotas import Quotas, read_quotas
from serving.report import Reporter
from serving.restore import Restored
from serving.servicer import RankingServicer
from serving.snapshots import Snapshots
from serving.telemetry.telemetry import Telemetry
from serving.watch import (
    watch_admission,
    watch_bundles,
    watch_model,
    watch_receipts,
    watch_state,
    watch_store,
    watch_writer,
)
from serving.worker import Worker

# Time for the last answers to leave, in seconds; health watchers never leave, so they are cut off after it.
_FAREWELL_S = 1.0

_log = structlog.get_logger()


class RankingServer:
    """One server process: ``start``, ``load`` and ``stop`` in this order, or ``run`` for all of them.

    ``load_model`` is given the registry, or later one of its bundles, and returns a model that may be trusted; it is
    called in a thread.
    """

    def __init__(self, config: ServerConfig, load_model: Callable[[Path], Model] = load_current) -> None:
        self.address = ""
        self._config = config
        self._load_model = load_model
        self._server: aio.Server | None = None
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="rank")
        # Bundles are loaded in a thread of its own, so that no ranking waits for one that is free.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._data: DataDirectory | None = None
        self.telemetry = Telemetry(config)
        self._intake = EventIntake(has_log=config.data is not None, counted=self.telemetry.events.recorded)
        self._admission = admission_by(config)
        self._servicer = RankingServicer(
            self._executor,
            self._intake,
            self.telemetry,
            self._admission,
            threads=config.threads,
            ladder=config.ladder_of(config.threads, config.most_waiting),
        )
        self._bundles = self._servicer.bundles
        self._worker = Worker(SERVICE, config, self._servicer)
        self._reporter = Reporter(self.telemetry, config.registry, self._bundles)
        self._admin_servicer = AdminServicer(self._reporter.report)
        self._admin = AdminPort(self._admin_servicer, self.telemetry.calls)
        self.telemetry.follow("recsys_queue_length", lambda: self._servicer.waiting)
        watch_admission(self.telemetry, self._admission)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs lack it
        self._unread: asyncio.Task[None] | None = None
        self._loading: Future[tuple[Loaded, Restored]] | None = None
        self._preparation: Preparation | None = None
        self._operations: Operations | None = None
        self._snapshots: Snapshots | None = None  # none of a shared state

    def give_way(self) -> None:
        """Rank first and read second, where cores are short; to be called once, by the thread that will serve."""
        if self._config.sheds:
            give_way(self._executor, self._config.threads)

    async def start(self) -> None:
        """Listen; until a model is loaded, rankings are answered UNAVAILABLE and health NOT_SERVING.

        Raises:
            ConfigError: the address cannot be listened on, the data directory not be used, or who may call not be told.
        """
        if self._config.store and self._config.data is None:
            raise ConfigError(
                "without a data directory nothing is told to a store, nor asked of it; name one with --data DIR, or "
                "leave --store out"
            )
        door = open_door(self._config)
        self._servicer.pseudonyms = Pseudonyms.read(self._config.log_key)
        if self._config.quotas is not None:
            quotas = Renewed("the quotas", (self._config.quotas,), read_quotas)
            self._servicer.quotas = Quotas(quotas, self._admission.refusals)
        if self._config.data is not None:
            self._data = DataDirectory(self._config.data, late_window_s=self._config.late_window_s)
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            self._server, self.address, unread = listening(
                self._config, door, self._servicer, self._health, self.telemetry.calls
            )
        except ConfigError:
            self._close_data()
            raise
        try:
            await self._open_for_operators(door)
        except ConfigError:
            self.telemetry.close()
            self._close_data()
            raise
        await self._server.start()
        if unread is not None:
            self._unread = asyncio.create_task(unread.follow())
        await self._worker.open()
        _log.info("loading", address=self.address, metrics=self.metrics_address, admin=self.admin_address)

    async def load(self) -> None:
        """Load the model, warm it up and say SERVING; from then on follow the registry.

        Raises what the loader raises.
        """
        self._loading = self._loader.submit(self._load_first)
        loaded, restored = await asyncio.wrap_future(self._loading)
        self._loading = None  # it would hold the bundle for ever
        self._bundles.add(loaded)
        self._bundles.serve(loaded)
        self._watch(loaded)
        if self._data is not None and not self._config.store:
            every_s = self._config.snapshot_every_s
            self._snapshots = Snapshots(loaded.model, self._data, known=restored.snapshot, every_s=every_s)
            self._snapshots.start()
        await self._operate()
        await self._worker.begin()
        make_room()
        set_aside()
        await self._say(health_pb2.HealthCheckResponse.SERVING)
        self._worker.serves()
        _log.info("serving", address=self.address, bundle_id=loaded.bundle_id)

    async def stop(self) -> bool:
        """Say NOT_SERVING, refuse new requests, finish the accepted ones; False when the grace was too short.

        The port closes last: a request that meets a closing gRPC server is cut off as CANCELLED, which callers do not
        know to try elsewhere, so it is the servicer that refuses, with UNAVAILABLE.
        """
        await self._health.enter_graceful_shutdown()
        if self._operations is not None:
            self._operations.stop()
        grace_s = self._config.grace_s
        drained = all(await asyncio.gather(self._servicer.drain(grace_s), self._intake.drain(grace_s)))
        if self._unread is not None:
            self._unread.cancel()
        if self._server is not None:
            await asyncio.gather(self._server.stop(_FAREWELL_S), self._worker.close(_FAREWELL_S))
        await self._admin.close()
        self._servicer.item_changes.close()
        for executor in (self._executor, self._loader):
            executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._bundles.close)
        if self._snapshots is not None:
            await asyncio.to_thread(self._snapshots.close, last=not self.computing)
        if not self.computing:
            self._close_data()
        await asyncio.to_thread(self.telemetry.close)
        return drained

    async def run(self) -> bool:
        """Serve until SIGTERM or SIGINT, then ``stop``, and return what it says."""
        asked_to_stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
        self._worker.leave_with_supervisor(asked_to_stop.set)
        await self.start()
        waiting = asyncio.create_task(asked_to_stop.wait())
        loading = asyncio.create_task(self.load())
        try:
            await asyncio.wait({waiting, loading}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
                await waiting
        finally:
            _log.info("stopping", grace_s=self._config.grace_s)
            for task in (waiting, loading):
                task.cancel()
            drained = await self.stop()
            _log.info("stopped", drained=drained)
        return drained

    @property
    def computing(self) -> bool:
        """Whether a thread is still at work; nothing can interrupt it."""
        loading = self._loading is not None and not self._loading.done()
        preparing = self._preparation is not None and self._preparation.busy
        return self._servicer.busy or self._intake.busy or loading or preparing

    @property
    def metrics_address(self) -> str:
        """Where the metrics are served, "" if nowhere."""
        return self.telemetry.metrics_address

    @property
    def admin_address(self) -> str:
        """Where operators can ask for the status, "" if nowhere."""
        return self._admin.address

    async def _open_for_operators(self, door: Door) -> None:
        self.telemetry.open()
        if self._config.admin_port is not None:
            await self._admin.open(self._config.admin_port, door)

    def _watch(self, loaded: Loaded) -> None:
        """Show the figures of the first model from now on, and take events."""
        watch_model(self.telemetry, loaded.model, load_s=loaded.load_s)
        watch_bundles(self.telemetry, self._bundles)
        log = None if self._data is None else self._data.event_log
        committed = watch_state(self.telemetry, self._bundles, log)
        if log is not None and self._preparation is not None:
            self._intake.writer = EventWriter(log, self._preparation.live.learn, committed=committed)
            watch_writer(self.telemetry, self._intake.writer)

    async def _operate(self) -> None:
        """Let operators, and the registry, change which bundle serves."""
        assert self._preparation is not None  # noqa: S101  # the first bundle came of it
        self._servicer.live = self._preparation.live
        self._operations = Operations(
            self._config, self._preparation, self._bundles, self._loader, self.telemetry.swaps, self._taken
        )
        await self._operations.begin()
        self._reporter.swaps = self._operations.report
        self._admin_servicer.operations = self._operations

    def _taken(self, loaded: Loaded) -> None:
        """Show the figures of a bundle that has come to serve, and write down what it learns."""
        watch_model(self.telemetry, loaded.model, load_s=loaded.load_s)
        if self._config.store:
            watch_store(self.telemetry, loaded.learn)
        if self._snapshots is not None:
            self._snapshots.turn_to(loaded.model)
        set_aside(searched=False)

    def _load_first(self) -> tuple[Loaded, Restored]:
        receipts = None if self._data is None else self._data.open_receipts(self._config)
        if receipts is not None:
            self._servicer.receipts = receipts
            watch_receipts(self.telemetry, receipts)
        # A loader of the caller's own is for every bundle.
        beside = load_beside if self._load_model is load_current else self._load_model
        self._preparation = Preparation(self._config, self._load_model, beside, self._data, receipts)
        loaded, restored = self._preparation.first()
        if self._config.store:
            watch_store(self.telemetry, loaded.learn)
        return loaded, restored

    def _close_data(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", SERVICE):
            await self._health.set(name, status)
