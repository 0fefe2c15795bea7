"""A server process starts refusing, serves once it is warm, and leaves without losing what it accepted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from recsys.errors import BundleError, ConfigError, NotReady, RecsysError
from serving.client import AsyncRankingClient, RankingClient, ServiceError
from serving.config import ServerConfig
from serving.process import run_server
from serving.server import RankingServer

SCRIPT = Path(__file__).with_name("length_model.py")
ANY_PORT = ServerConfig(registry=Path("unused"), port=0, threads=1)


@pytest.fixture(autouse=True)
def _defaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what ``run_server`` makes of the log and of niceness, or later tests could not look, and would be slow."""
    monkeypatch.setattr("serving.server.give_way", lambda *_: None)
    yield
    structlog.reset_defaults()


class Process:
    """A server in a process of its own, followed by its log; killed at the end if it still runs."""

    def __init__(self, **environment: str) -> None:
        settings = {**os.environ, "RECSYS_THREADS": "1", **environment}
        self.popen = subprocess.Popen([sys.executable, SCRIPT], env=settings, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def wait_for(self, event: str) -> dict[str, Any]:
        while (line := self._read())["event"] != event:
            pass
        return line

    def end(self) -> tuple[int, list[str]]:
        """Wait for the end; returns the status and the events up to it."""
        events = []
        while (line := self._read())["event"] != "end of log":
            events.append(line["event"])
        return self.popen.wait(20), events

    def _read(self) -> dict[str, Any]:
        assert self.popen.stderr is not None
        line = self.popen.stderr.readline()
        # gRPC's own lines are not ours to judge.
        while line and not line.startswith(("{", "Traceback", "returned")):
            line = self.popen.stderr.readline()
        return json.loads(line) if line.startswith("{") else {"event": line.strip() or "end of log"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_accepted_request_is_finished_after_the_signal(number: signal.Signals) -> None:
    answers: list[Any] = []
    with Process() as process:
        address = process.wait_for("serving")["address"]
        with RankingClient(address, deadline_s=20) as client, RankingClient(address) as late:
            slow = threading.Thread(
                target=lambda: answers.append(client.rank("u", ["a"], surface="slow", query="2", request_id="slow"))
            )
            slow.start()
            process.wait_for("computing")
            process.popen.send_signal(number)
            process.wait_for("stopping")
            with pytest.raises(NotReady, match="shutting down; ask another one"):
                late.rank("u", ["a"])
            assert slow.is_alive()
            slow.join(20)
        code, events = process.end()

    assert [answer.request_id for answer in answers] == ["slow"]
    assert (code, events[-3:]) == (0, ["call", "stopped", "returned"])


def test_requests_that_wait_for_a_thread_are_finished_too() -> None:
    async def load() -> list[Any]:
        async with AsyncRankingClient(address, deadline_s=20) as client:
            calls = [client.rank("u", ["a"], surface="slow", query="0.02", request_id=str(n)) for n in range(12)]
            tasks = [asyncio.create_task(call) for call in calls]
            for _ in range(5):
                await asyncio.to_thread(process.wait_for, "computing")
            process.popen.terminate()
            return await asyncio.gather(*tasks, return_exceptions=True)

    with Process() as process:
        address = process.wait_for("serving")["address"]
        answers = asyncio.run(load())
        code, _ = process.end()

    assert [getattr(answer, "request_id", answer) for answer in answers] == [str(n) for n in range(12)]
    assert code == 0


def test_a_request_longer_than_the_grace_is_given_up_and_the_process_leaves() -> None:
    errors: list[BaseException] = []

    def ask(address: str) -> None:
        try:
            with RankingClient(address, deadline_s=60, tries=1) as client:
                client.rank("u", ["a"], surface="slow", query="60")
        except RecsysError as error:
            errors.append(error)

    with Process(RECSYS_GRACE_S="0.5") as process:
        slow = threading.Thread(target=ask, args=(process.wait_for("serving")["address"],))
        slow.start()
        process.wait_for("computing")
        process.popen.terminate()
        code, events = process.end()
        slow.join(20)

    assert (code, events) == (1, ["stopping", "call", "stopped"])
    assert [type(error) for error in errors] == [NotReady]


def test_a_computation_that_nobody_waits_for_does_not_delay_the_end() -> None:
    with Process(RECSYS_GRACE_S="60") as process:
        address = process.wait_for("serving")["address"]
        with RankingClient(address, deadline_s=1) as client, pytest.raises(ServiceError):
            client.rank("u", ["a"], surface="slow", query="60")
        process.wait_for("call")
        process.popen.terminate()

        assert process.end() == (0, ["stopping", "stopped"])


def test_a_signal_while_loading_ends_the_process() -> None:
    with Process(LOAD_SECONDS="60") as process:
        process.wait_for("loading")
        process.popen.terminate()

        assert process.end() == (0, ["stopping", "stopped"])


def test_who_watches_health_is_told_of_the_end_and_does_not_delay_it() -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    with Process(RECSYS_GRACE_S="60") as process:
        channel = grpc.insecure_channel(process.wait_for("serving")["address"])
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == serving
        process.popen.terminate()

        assert next(watch).status == not_serving
        assert process.end()[0] == 0
        channel.close()


def test_until_a_model_is_loaded_rankings_are_refused_and_health_says_so(length_model: Any) -> None:
    may_load = threading.Event()

    def load(_registry: Path) -> Any:
        may_load.wait(10)
        return length_model.LengthModel()

    async def start() -> None:
        server = RankingServer(ANY_PORT, load)
        await server.start()
        loading = asyncio.create_task(server.load())
        async with AsyncRankingClient(server.address) as client, grpc.aio.insecure_channel(server.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            with pytest.raises(NotReady, match="no model is loaded yet"):
                await client.rank("u", ["a"])
            with pytest.raises(NotReady, match="no model is loaded yet"):
                await client.model_info()
            before = await check(health_pb2.HealthCheckRequest())
            may_load.set()
            await loading
            after = await check(health_pb2.HealthCheckRequest())
            assert (await client.rank("u", ["a"])).items
        assert await server.stop()
        statuses = health_pb2.HealthCheckResponse
        assert (before.status, after.status) == (statuses.NOT_SERVING, statuses.SERVING)

    asyncio.run(start())


def test_the_golden_requests_are_asked_before_anybody_is_served(length_model: Any) -> None:
    model = length_model.LengthModel()

    async def start() -> None:
        server = RankingServer(ANY_PORT, lambda _: model)
        await server.start()
        await server.load()
        await server.stop()

    asyncio.run(start())
    assert model.asked == [length_model.GOLDEN.request]


def test_a_model_that_answers_otherwise_than_in_training_is_not_served(length_model: Any) -> None:
    model = length_model.LengthModel()
    wrong = length_model.GOLDEN.model_copy(update={"scores": {"a": 1.0, "bbb": 3.00001}})
    model.manifest = length_model.manifest(wrong)

    with pytest.raises(BundleError, match=r"golden request 1 .* 'bbb' scores 3\.0, expected 3\.00001"):
        run_server(ANY_PORT, lambda _: model)


def test_a_bundle_that_cannot_be_loaded_ends_the_server_with_its_reason() -> None:
    def load(_registry: Path) -> Any:
        raise BundleError("ranker.txt is damaged; restore the bundle")

    with pytest.raises(BundleError, match=r"ranker\.txt is damaged"):
        run_server(ANY_PORT, load)


def test_the_log_says_why_a_server_does_not_start_and_which_variables_are_no_settings() -> None:
    with Process(RECSYS_STORE="redis://127.0.0.1:1/0", RECSYS_TREADS="4") as process:
        unknown, fault = process.wait_for("unknown settings"), process.wait_for("not started")
        code, _ = process.end()

    assert "RECSYS_TREADS" in unknown["variables"]  # among those of whoever runs the tests
    assert unknown["level"] == "warning"
    assert fault["reason"].startswith("without a data directory nothing is told to a store")
    assert code == 1


def test_a_port_in_use_is_named(running: Any) -> None:
    port = int(running.address.rpartition(":")[2])

    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}; free the port"):
        run_server(ANY_PORT.model_copy(update={"port": port}), lambda _: running.model)


def test_reflection_can_be_turned_off(length_model: Any) -> None:
    async def services() -> grpc.StatusCode:
        server = RankingServer(ANY_PORT.model_copy(update={"reflection": False}), lambda _: length_model.LengthModel())
        await server.start()
        async with grpc.aio.insecure_channel(server.address) as channel:
            # In one piece: a stream may still be sending when it is refused, and then ends otherwise.
            call = channel.unary_unary("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
        await server.stop()
        return caught.value.code()

    assert asyncio.run(services()) is grpc.StatusCode.UNIMPLEMENTED
