"""The server's life: listen, load, warm up, serve, drain, leave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import structlog
import uvloop
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from recsys.errors import ConfigError
from recsys.events import Logged
from serving.access.door import Door, open_door
from serving.access.renewed import Renewed
from serving.admin import AdminPort, AdminServicer
from serving.admission import admission_by
from serving.config import ServerConfig
from serving.data_directory import DataDirectory
from serving.event_intake import EventIntake
from serving.event_writer import EventWriter
from serving.front import UNREAD, FrontInterceptor
from serving.item_log import ItemLog
from serving.load import load_current, warm_up
from serving.logging import configure_logging
from serving.model import Model
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.precedence import give_way
from serving.pseudonyms import Pseudonyms
from serving.quotas import Quotas, read_quotas
from serving.receipt_log import ReceiptLog
from serving.receipt_rows import Run
from serving.receipt_writer import ReceiptWriter
from serving.report import Reporter
from serving.restore import restore_items, restore_state
from serving.servicer import RankingServicer
from serving.snapshots import Snapshots
from serving.status import StatusInterceptor
from serving.telemetry.calls import CallsInterceptor
from serving.telemetry.telemetry import Telemetry
from serving.watch import watch_admission, watch_model, watch_receipts, watch_state, watch_store, watch_writer

SERVICE = pb.DESCRIPTOR.services_by_name["RankingService"].full_name

# Time for the last answers to leave, in seconds; health watchers never leave, so they are cut off after it.
_FAREWELL_S = 1.0

# How long a thread that computes may keep Python's lock while the event loop waits for it: Python's own 5 ms are longer
# than a ranking (docs/experiments.md has figures).
SWITCH_S = 0.0005

_log = structlog.get_logger()


class RankingServer:
    """One server process: ``start``, ``load`` and ``stop`` in this order, or ``run`` for all of them.

    ``load_model`` is given the registry and returns a model that may be trusted; it is called in a thread.
    """

    def __init__(self, config: ServerConfig, load_model: Callable[[Path], Model] = load_current) -> None:
        self.address = ""
        self._config = config
        self._load_model = load_model
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="rank")
        self._data: DataDirectory | None = None
        self._receipts: ReceiptLog | None = None
        self.telemetry = Telemetry(config)
        self._reporter = Reporter(self.telemetry, config.registry)
        self._admin = AdminPort(AdminServicer(self._reporter.report), self.telemetry.calls)
        self._intake = EventIntake(has_log=config.data is not None, counted=self.telemetry.events.recorded)
        self._admission = admission_by(config)
        self._servicer = RankingServicer(
            self._executor, self._intake, self.telemetry, self._admission, threads=config.threads
        )
        self.telemetry.follow("recsys_queue_length", lambda: self._servicer.waiting)
        watch_admission(self.telemetry, self._admission)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs lack it
        self._loading: Future[Model] | None = None
        # What learns in the model's place, where servers share a state.
        self._learn: Callable[[Sequence[Logged]], None] | None = None
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
        door = open_door(self._config)
        self._servicer.pseudonyms = Pseudonyms.read(self._config.log_key)
        if self._config.quotas is not None:
            quotas = Renewed("the quotas", (self._config.quotas,), read_quotas)
            self._servicer.quotas = Quotas(quotas, self._admission.refusals)
        self._server = aio.server(
            # Counted first, so that those who are refused are counted too.
            interceptors=[
                CallsInterceptor(self.telemetry.calls, SERVICE),
                door.interceptor,
                FrontInterceptor(f"/{SERVICE}/Rank", self._servicer.knock),
                StatusInterceptor(SERVICE),
            ],
            options=[
                ("grpc.max_receive_message_length", self._config.max_message_bytes),
                # A second server on the port shall fail, not silently take half of the requests.
                ("grpc.so_reuseport", 0),
                *(UNREAD if self._config.sheds else ()),
                *door.options,
            ],
        )
        if self._config.data is not None:
            self._data = DataDirectory(self._config.data, late_window_s=self._config.late_window_s)
        pb_grpc.add_RankingServiceServicer_to_server(self._servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._config.describes_itself:
            reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        try:
            port = door.listen(self._server, f"{host}:{self._config.port}")
        except RuntimeError as error:
            self._close_data()
            raise ConfigError(
                f"cannot listen on {host}:{self._config.port}; free the port, or choose another host or port"
            ) from error
        self.address = f"{host}:{port}"
        try:
            await self._open_for_operators(door)
        except ConfigError:
            self.telemetry.close()
            self._close_data()
            raise
        await self._server.start()
        _log.info("loading", address=self.address, metrics=self.metrics_address, admin=self.admin_address)

    async def load(self) -> None:
        """Load the model, warm it up and say SERVING; raises what the loader raises."""
        began = time.perf_counter()
        self._loading = self._executor.submit(self._load_warm)
        model = await asyncio.wrap_future(self._loading)
        self._watch(model, load_s=time.perf_counter() - began)
        self._servicer.model = model
        if self._snapshots is not None:
            self._snapshots.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)
        _log.info("serving", address=self.address, bundle_id=model.bundle_id)

    async def stop(self) -> bool:
        """Say NOT_SERVING, refuse new requests, finish the accepted ones; False when the grace was too short.

        The port closes last: a request that meets a closing gRPC server is cut off as CANCELLED, which callers do not
        know to try elsewhere, so it is the servicer that refuses, with UNAVAILABLE.
        """
        await self._health.enter_graceful_shutdown()
        grace_s = self._config.grace_s
        drained = all(await asyncio.gather(self._servicer.drain(grace_s), self._intake.drain(grace_s)))
        await self._server.stop(_FAREWELL_S)
        await self._admin.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if (model := self._servicer.model) is not None:
            await asyncio.to_thread(model.close)
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
        return self._servicer.busy or self._intake.busy or loading

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

    def _watch(self, model: Model, *, load_s: float) -> None:
        """Show the model's figures from now on, and take events for it."""
        self._reporter.model = model
        watch_model(self.telemetry, model, load_s=load_s)
        log = None if self._data is None else self._data.event_log
        committed = watch_state(self.telemetry, model, log)
        if log is not None:
            self._intake.writer = EventWriter(log, self._learn or model.learn, committed=committed)
            watch_writer(self.telemetry, self._intake.writer)

    def _load_warm(self) -> Model:
        model = self._load_model(self._config.registry)
        warm_up(model)  # before anything is added to it: the golden requests are about the bundle alone
        if self._data is not None:
            restore_items(model, self._data)
            if self._config.store:
                from serving.shared_learning import share  # noqa: PLC0415 - it loads the model libraries

                self._learn = share(model, self._config, self._data.event_log)
                watch_store(self.telemetry, self._learn)
                known = model.state_versions.get(self._data.event_log.name, 0)
                run = Run(bundle_id=model.bundle_id, snapshot=known, events=known, items=self._data.item_log.sequence)
            else:
                run = restore_state(model, self._data)
                every_s = self._config.snapshot_every_s
                self._snapshots = Snapshots(model, self._data, known=run.snapshot, every_s=every_s)
            self._keep_receipts(run, self._data)
        self._servicer.item_log = ItemLog(None) if self._data is None else self._data.item_log
        return model

    def _keep_receipts(self, run: Run, data: DataDirectory) -> None:
        config = self._config
        if config.receipts:
            self._receipts = ReceiptLog(data.receipts, most=config.most_receipts, most_bytes=config.receipt_bytes)
            self._receipts.begin(run)
            self._servicer.receipts = ReceiptWriter(self._receipts, config.receipts)
            watch_receipts(self.telemetry, self._servicer.receipts)

    def _close_data(self) -> None:
        if self._servicer.receipts is not None and self._receipts is not None:
            self._servicer.receipts.close()
            self._receipts.close()
        if self._data is not None:
            self._data.close()
            self._data = None

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", SERVICE):
            await self._health.set(name, status)


def run_server(config: ServerConfig, load_model: Callable[[Path], Model] = load_current) -> None:
    """Serve the registry's current bundle until SIGTERM or SIGINT.

    Leaves the process with status 1 when requests were still being computed at the end of the grace.

    Raises:
        RecsysError: the bundle cannot be loaded, the address cannot be listened on, or the data directory cannot be
            used; nothing was served.
    """
    configure_logging(config.log_level)
    server = RankingServer(config, load_model)
    sys.setswitchinterval(SWITCH_S)
    server.give_way()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        drained = runner.run(server.run())
    if server.computing:
        # Python would wait for its threads, however long they take, and so break the promised grace.
        os._exit(0 if drained else 1)
