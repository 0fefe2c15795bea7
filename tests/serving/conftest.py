"""A running server of a model whose answers are obvious, clients of it, and a Redis server of the tests' own."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from recsys.features import FeatureState
from recsys.features.rows import to_rows
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.server import RankingServer
from serving.shared_state.rows import PAGE

SCRIPT = Path(__file__).with_name("length_model.py")


@dataclass(frozen=True)
class Running:
    address: str
    model: Any
    servicer: Any
    metrics: str
    admin: str
    telemetry: Any
    loop: Any

    def settle(self) -> None:
        """Wait until the answers up to now are logged and counted: they leave first."""
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(10)

    @contextmanager
    def lines(self, **settings: Any) -> Iterator[list[Any]]:
        """Capture what is logged from here on, and nothing of earlier answers."""
        self.settle()
        with capture_logs(**settings) as lines:
            yield lines


def wait_until(holds: Callable[[], object], seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture(scope="session")
def length_model() -> Any:
    """The module beside this file; tests are no package, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location("length_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def server_of(model: Any, config: ServerConfig) -> Iterator[Running]:
    """Serve the model on a real port, in a thread with its own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    server = RankingServer(config, lambda _: model)
    wait(server.start())
    wait(server.load())
    yield Running(
        server.address,
        model,
        server._servicer,
        server.metrics_address,
        server.admin_address,
        server.telemetry,
        loop,
    )
    assert wait(server.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture(scope="session")
def serve() -> Any:
    """``server_of``, for the tests of folders below."""
    return server_of


@pytest.fixture(scope="session")
def running(length_model: Any) -> Iterator[Running]:
    """A server of a LengthModel with four threads and no event log."""
    with server_of(length_model.LengthModel(), ServerConfig(registry=Path("unused"), port=0, threads=4)) as running:
        yield running


@pytest.fixture
def recording(length_model: Any, tmp_path: Path) -> Iterator[Running]:
    """A server of a LengthModel that keeps events below the test's own directory."""
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, data=tmp_path / "live")
    with server_of(length_model.LengthModel(), config) as running:
        yield running


@pytest.fixture
def another(length_model: Any) -> Callable[[], AbstractContextManager[Running]]:
    """Start one more server of a LengthModel, and stop it when the block ends."""
    config = ServerConfig(registry=Path("unused"), port=0, threads=1)
    return lambda: server_of(length_model.LengthModel(), config)


@pytest.fixture
def client(running: Running) -> Iterator[RankingClient]:
    with RankingClient(running.address, deadline_s=10) as client:
        yield client


@pytest.fixture
def stub(running: Running) -> Iterator[pb_grpc.RankingServiceStub]:
    with grpc.insecure_channel(running.address) as channel:
        yield pb_grpc.RankingServiceStub(channel)


@dataclass(frozen=True)
class RedisServer:
    """A Redis server process without persistence, on a socket file and on a port."""

    url: str
    port: int
    process: subprocess.Popen[bytes]

    def connect(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url, protocol=2)


def start_redis(folder: Path, port: int) -> RedisServer:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("NOT TESTED: neither redis-server nor valkey-server is on the PATH; apt-get install redis-server")
    socket_file = folder / "redis.sock"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(socket_file)]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    server = RedisServer(url=f"unix://{socket_file}?db=0", port=port, process=process)
    client = server.connect()
    for _ in range(500):
        try:
            client.ping()
        except Exception:  # noqa: BLE001 - it is not there yet
            assert process.poll() is None, (folder / "redis.log").read_text()
            time.sleep(0.02)
        else:
            break
    client.close()
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # a socket's path must be short
        server = start_redis(Path(folder), free_port())
        yield server
        server.process.kill()
        server.process.wait()


@pytest.fixture
def own_server() -> Iterator[Callable[[], RedisServer]]:
    """Start Redis servers that a test may stop, or have to itself."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        started: list[RedisServer] = []
        port = free_port()

        def start() -> RedisServer:
            started.append(start_redis(Path(folder), port))
            return started[-1]

        yield start
        for server in started:
            server.process.kill()
            server.process.wait()


def rows_in_store(client: Any, prefix: str) -> dict[bytes, bytes]:
    """Return every row of the one generation below a prefix, by letter and key."""
    begin = len(prefix) + 1 + 16 + 1
    names = client.scan_iter(match=f"{prefix}:*", count=1_000)
    names = [name for name in names if len(name) == begin + 9 or name[begin:] in (b"overall", b"places")]
    return {name[begin:]: row for name, row in zip(names, client.mget(names), strict=True)} if names else {}


def rows_in_memory(state: FeatureState) -> dict[bytes, bytes]:
    """Return what those rows are in one process, without those that nothing was ever learned of."""
    tables: Any = state._tables
    found = {b"overall": to_rows(tables.overall, np.zeros(1, int)).tobytes(), b"places": tables.places.tobytes()}
    for letter, table in (("u", "users"), ("i", "items"), ("c", "categories"), ("s", "surfaces")):
        each = getattr(tables, table)
        for row in to_rows(each, np.arange(each.used[0])):
            blank = np.zeros(1, row.dtype)[0]
            blank["keys"] = row["keys"]
            if row.tobytes() != blank.tobytes():
                found[letter.encode() + row["keys"].tobytes()] = row.tobytes()
    pages = np.zeros((-(-len(tables.values) // PAGE), PAGE, 2), np.int64)
    pages.reshape(-1, 2)[: len(tables.values)] = tables.values
    for number, page in enumerate(pages, start=1):
        key = number.to_bytes(8, "little")
        if page.any():
            found[b"v" + key] = key + page.tobytes()
    return found


@pytest.fixture(scope="session")
def stored_rows() -> Callable[..., dict[bytes, bytes]]:
    return rows_in_store


@pytest.fixture(scope="session")
def counted_rows() -> Callable[[FeatureState], dict[bytes, bytes]]:
    return rows_in_memory
