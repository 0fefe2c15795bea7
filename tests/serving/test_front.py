"""A full server refuses before it reads, drops what it cannot even refuse, and answers for its health all the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio
from prometheus_client import CollectorRegistry

from serving.client import RankingClient, ServiceError
from serving.config import ServerConfig
from serving.front import FrontInterceptor, read_whole
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.telemetry.calls import Calls, CallsInterceptor
from serving.telemetry.metrics import Metrics


@pytest.fixture
def narrow(length_model: Any, serve: Any) -> Iterator[Any]:
    """A server with one thread and room for one to wait."""
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, most_waiting=1, default_deadline_s=0.5)
    model = length_model.LengthModel()
    with serve(model, config) as running:
        yield running
        model.release.set()


def asked(user: str, surface: str) -> pb.RankRequest:
    return pb.RankRequest(user_id=user, surface=surface, candidates=[pb.Candidate(item_id="a")])


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def fill(narrow: Any, others: ThreadPoolExecutor, call: Any) -> list[Any]:
    """Have one computed, and then one wait; the other way round the second would find the queue full."""
    computed = others.submit(call)
    admission = narrow.servicer._admission
    wait_for(lambda: (admission.in_flight, admission.waiting) == (1, 0))
    waits = others.submit(call)
    wait_for(lambda: narrow.servicer.waiting == 1)
    return [computed, waits]


def test_a_full_server_refuses_at_once_and_says_when_to_come_back(narrow: Any) -> None:
    with grpc.insecure_channel(narrow.address) as channel, ThreadPoolExecutor(2) as others:
        stub = pb_grpc.RankingServiceStub(channel)
        busy = fill(narrow, others, lambda: stub.Rank(asked("ann", "held"), timeout=9))
        with pytest.raises(grpc.RpcError) as refused:
            stub.Rank(asked("cat", "held"), timeout=9)
        narrow.model.release.set()

        assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"]) >= 10
        assert {each.result().items[0].item_id for each in busy} == {"a"}
        assert stub.Rank(asked("cat", ""), timeout=9).items[0].item_id == "a"


def test_a_full_server_does_not_read_what_it_refuses(narrow: Any) -> None:
    with grpc.insecure_channel(narrow.address) as channel, ThreadPoolExecutor(2) as others:
        stub = pb_grpc.RankingServiceStub(channel)
        no_message = channel.unary_unary("/recsys.v1.RankingService/Rank")
        with pytest.raises(grpc.RpcError) as read:
            no_message(b"\xff", timeout=9)
        busy = fill(narrow, others, lambda: stub.Rank(asked("ann", "held"), timeout=9))
        with pytest.raises(grpc.RpcError) as refused:
            no_message(b"\xff", timeout=9)
        narrow.model.release.set()

        assert read.value.code() is StatusCode.INVALID_ARGUMENT
        assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert all(each.result() for each in busy)
    assert narrow.telemetry.registry.get_sample_value("recsys_shed_total", {"reason": "queue"}) == 1


def unread(running: Any) -> int:
    return int(running.telemetry.registry.get_sample_value("recsys_shed_total", {"reason": "unread"}) or 0)


def asleep(running: Any) -> int:
    """Ask for 60 rankings and once for health while the event loop sleeps; how many rankings gRPC itself dropped."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.RankingServiceStub(channel)
        stub.Rank(asked("ann", ""), timeout=9)
        running.loop.call_soon_threadsafe(time.sleep, 1.0)
        time.sleep(0.1)
        rankings = [stub.Rank.future(asked("ann", ""), timeout=9) for _ in range(60)]
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=9)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        codes = [each.code() for each in rankings]
        assert stub.Rank(asked("ann", ""), timeout=9).items
    assert set(codes) <= {StatusCode.OK, StatusCode.RESOURCE_EXHAUSTED, StatusCode.CANCELLED}
    return codes.count(StatusCode.CANCELLED)


def test_what_cannot_even_be_refused_is_dropped_unread_and_counted_and_health_is_not(
    length_model: Any, serve: Any, eventually: Any
) -> None:
    with serve(length_model.LengthModel(), ServerConfig(registry=Path("unused"), port=0, threads=1)) as running:
        dropped = asleep(running)
        eventually(lambda: unread(running) >= dropped)
        time.sleep(0.2)
        assert unread(running) == dropped
    assert dropped >= 60 - 26  # 25 wait to be read at most, and one was taken before


def test_the_control_a_server_that_does_not_shed_reads_all_of_them(length_model: Any, serve: Any) -> None:
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, sheds=False)
    with serve(length_model.LengthModel(), config) as running:
        assert asleep(running) == 0
        assert unread(running) == 0


def test_a_caller_without_a_deadline_gets_one(narrow: Any) -> None:
    with grpc.insecure_channel(narrow.address) as channel, pytest.raises(grpc.RpcError) as late:
        pb_grpc.RankingServiceStub(channel).Rank(asked("ann", "held"))

    assert late.value.code() is StatusCode.DEADLINE_EXCEEDED
    assert "no answer within 0.5 s" in late.value.details()


def test_health_is_answered_while_the_door_is_shut(narrow: Any) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(narrow.address) as channel, ThreadPoolExecutor(2) as others:
        stub = pb_grpc.RankingServiceStub(channel)
        held = fill(narrow, others, lambda: stub.Rank(asked("ann", "held"), timeout=9))
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        narrow.model.release.set()

        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert all(each.result() for each in held)


def test_the_client_comes_back_when_it_was_told_to(narrow: Any) -> None:
    with RankingClient(narrow.address, deadline_s=9, tries=11) as client, ThreadPoolExecutor(3) as others:
        busy = fill(narrow, others, lambda: client.rank("ann", ["a"], surface="held"))
        third = others.submit(client.rank, "cat", ["a"])
        wait_for(lambda: narrow.servicer._admission.refusals.total >= 1)
        narrow.model.release.set()

        assert third.result().items[0].item_id == "a"
        assert all(each.result() for each in busy)


def test_a_client_that_may_not_try_again_is_told_so(narrow: Any) -> None:
    with RankingClient(narrow.address, deadline_s=9, tries=1) as client, ThreadPoolExecutor(2) as others:
        busy = fill(narrow, others, lambda: client.rank("ann", ["a"], surface="held"))
        with pytest.raises(ServiceError) as refused:
            client.rank("cat", ["a"])
        narrow.model.release.set()

        assert refused.value.code == "RESOURCE_EXHAUSTED"
        assert all(each.result() for each in busy)


async def read_amid_a_cancellation(read: Callable[[Any], Awaitable[Any]], *, sends: bool = True) -> list[str]:
    """Cancel a call's task while its message is on the way, as gRPC does; returns what happens, in order."""
    happened: list[str] = []
    asked, sent, ended = (asyncio.Event() for _ in range(3))

    async def cancel(task: asyncio.Task[Any]) -> None:
        happened.append("asked to end")
        task.cancel()
        asked.set()

    async def handler(_: Any, context: Any) -> bytes:
        task: Any = asyncio.current_task()
        cancelling = asyncio.create_task(cancel(task))
        try:
            await read(context)
        except asyncio.CancelledError:
            happened.append("cancelled")
            raise
        finally:
            happened.extend([] if task.cancel.__self__ is task else ["not itself any more"])
            ended.set()
            await cancelling
        return b""

    async def message() -> AsyncIterator[bytes]:
        await asked.wait()
        await asyncio.sleep(0.1)
        if sends:
            happened.append("sent")
            sent.set()
            yield b"message"
        await ended.wait()

    async with serving_one(grpc.stream_unary_rpc_method_handler(handler)) as channel:
        call: Any = channel.stream_unary("/shop/Rank")(message())
        await ended.wait()
        if sends:
            await sent.wait()
        call.cancel()
    return happened


@asynccontextmanager
async def serving_one(handler: Any) -> AsyncIterator[aio.Channel]:
    """Serve one method for ten seconds at most."""
    server = aio.server(options=[("grpc.max_receive_message_length", 1_000)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop", {"Rank": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(10):
        yield channel
    await server.stop(None)


def test_a_call_is_cancelled_after_the_read_of_its_message_and_not_amid_it() -> None:
    assert asyncio.run(read_amid_a_cancellation(read_whole)) == ["asked to end", "sent", "cancelled"]


def test_the_control_grpc_alone_breaks_the_read_off() -> None:
    alone = read_amid_a_cancellation(lambda context: context.read())

    assert asyncio.run(alone) == ["asked to end", "cancelled", "sent"]


def test_a_read_that_does_not_end_by_itself_is_broken_off_after_a_second() -> None:
    assert asyncio.run(read_amid_a_cancellation(read_whole, sends=False)) == ["asked to end", "cancelled"]


async def codes_without_a_message(call_it: Callable[[Any], Awaitable[StatusCode]]) -> tuple[StatusCode, list[str], int]:
    """Make a call that brings no message; returns its code, how the server counts it, and how often it was answered."""
    answered: list[bytes] = []
    counted = asyncio.Event()
    metrics = Metrics(registry := CollectorRegistry())

    async def answer(message: bytes, _context: Any) -> bytes:
        answered.append(message)
        return b""

    handler: Any = grpc.unary_unary_rpc_method_handler(answer)
    handler = FrontInterceptor("shop", {}).wrap("/shop/Rank", handler)
    watched = CallsInterceptor(Calls(metrics, None), "shop").wrap("/shop/Rank", handler)

    async def observed(request: Any, context: Any) -> Any:
        try:
            return await watched.stream_unary(request, context)
        finally:
            asyncio.get_running_loop().call_soon(counted.set)

    async with serving_one(grpc.stream_unary_rpc_method_handler(observed)) as channel:
        code = await call_it(channel)
        await counted.wait()
    names = [each.name for each in StatusCode]
    told = [name for name in names if registry.get_sample_value("recsys_calls_total", {"method": "Rank", "code": name})]
    return code, told, len(answered)


async def ended(call: Any) -> StatusCode:
    with pytest.raises((aio.AioRpcError, asyncio.CancelledError)):
        await call
    code: StatusCode = await call.code()
    return code


async def goes(channel: Any) -> StatusCode:
    """Cancel before anything is sent."""
    call = channel.stream_unary("/shop/Rank")(never())
    asyncio.get_running_loop().call_later(0.2, call.cancel)
    return await ended(call)


async def never() -> AsyncIterator[bytes]:
    await asyncio.sleep(5)
    yield b""


async def runs_out_of_time(channel: Any) -> StatusCode:
    return await ended(channel.stream_unary("/shop/Rank")(never(), timeout=0.2))


async def sends_too_much(channel: Any) -> StatusCode:
    return await ended(channel.unary_unary("/shop/Rank")(b"x" * 2_000))


async def sends_nothing(channel: Any) -> StatusCode:
    async def nothing() -> AsyncIterator[bytes]:
        for message in ():
            yield message

    return await ended(channel.stream_unary("/shop/Rank")(nothing()))


@pytest.mark.parametrize(
    ("call", "code", "counted"),
    [
        (goes, StatusCode.CANCELLED, {"CANCELLED"}),
        # The caller's side ends by its own clock, and may say so to a server whose clock is behind.
        (runs_out_of_time, StatusCode.DEADLINE_EXCEEDED, {"DEADLINE_EXCEEDED", "CANCELLED"}),
        (sends_too_much, StatusCode.RESOURCE_EXHAUSTED, {"CANCELLED"}),
        (sends_nothing, StatusCode.INVALID_ARGUMENT, {"INVALID_ARGUMENT"}),
    ],
)
def test_a_call_whose_message_does_not_come_is_not_answered(
    call: Callable[[Any], Awaitable[StatusCode]], code: StatusCode, counted: set[str]
) -> None:
    ended, (told,), asked = asyncio.run(codes_without_a_message(call))

    assert (ended, asked) == (code, 0)
    assert told in counted
