"""A running server of a model whose answers are obvious, and clients of it."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.client import RankingClient
from serving.config import ServerConfig
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.server import RankingServer

SCRIPT = Path(__file__).with_name("length_model.py")


@dataclass(frozen=True)
class Running:
    address: str
    model: Any
    jobs: Mapping[Any, Any]
    servicer: Any


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
    yield Running(server.address, model, server._servicer._jobs, server._servicer)
    assert wait(server.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


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
