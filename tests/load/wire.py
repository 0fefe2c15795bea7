"""Random messages over the wire, by many callers at a time, while another client goes on as before."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc import StatusCode, aio

from serving.final_status import answer_of
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc

TOGETHER = 8
DEADLINE_S = 30


class Collector:
    """Takes spans, as a collector of traces does, and has them looked at."""

    def __init__(self, findings: Any) -> None:
        self.spans = 0
        self._findings = findings

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's name
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        self.spans += sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
        self._findings.line("trace", str(request))
        return ExportTraceServiceResponse()


@contextmanager
def collecting(findings: Any) -> Iterator[tuple[Collector, str]]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import add_TraceServiceServicer_to_server

    collector = Collector(findings)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


class Fuzz:
    """One run against one server: who sends what no server should be sent, and who sends what it should."""

    def __init__(
        self, run: Any, server: Any, findings: Any, beside: Callable[[str], Any], known: Mapping[str, Sequence[str]]
    ) -> None:
        self.findings = findings
        self.steady = 0
        self._run_of, self._server, self._known = run, server, known
        self._messages, self._fill = beside("messages"), beside("callers").Callers
        resident = partial(beside("memory").resident, server.process.pid)
        self.watch = beside("watching").Watch(run.count, resident, findings)
        self._now_us = time.time_ns() // 1_000

    async def run(self, say: Callable[[str], None]) -> None:
        services = pb.DESCRIPTOR.services_by_name
        if self._run_of.count > 1_000:  # so that growth is growth, and not the cache of the event log
            await self._fill(self._server.address, list(self._known["item_id"]), seed=0).fill(80)
        numbers = iter(self._run_of.numbers)
        async with (
            aio.insecure_channel(self._server.address) as ranking,
            aio.insecure_channel(self._server.admin) as admin,
            aio.insecure_channel(self._server.address, [("grpc.use_local_subchannel_pool", 1)]) as another,
        ):
            channels = {services["RankingService"]: ranking, services["AdminService"]: admin}
            steady = asyncio.create_task(self._go_on(pb_grpc.RankingServiceStub(another)))
            await asyncio.gather(
                self.watch.go_on(self._server.page, say), *(self._send(channels, numbers) for _ in range(TOGETHER))
            )
            steady.cancel()
            await asyncio.gather(steady, return_exceptions=True)

    async def _send(self, channels: dict[Any, Any], numbers: Iterator[int]) -> None:
        methods = [(channel, method) for service, channel in channels.items() for method in service.methods]
        methods += [one for one in methods if one[1].name == "Rank"] * 3
        for number in numbers:
            rng = random.Random(self._run_of.seed ^ number)
            channel, method = methods[rng.randrange(len(methods))]
            path = f"/{method.containing_service.full_name}/{method.name}"
            count = rng.randrange(5) if method.client_streaming else 1
            parts = [self._message(method.input_type, number, part) for part in range(count)]
            call = self._called(channel, path, method, parts, rng)
            if rng.random() < 0.02:
                await asyncio.sleep(rng.random() * 0.003)
                call.cancel()
            try:
                code, text, data = StatusCode.OK, "", await answer_of(call)
            except aio.AioRpcError as error:
                code, text, data = error.code(), error.details() or "", b""
            except asyncio.CancelledError:
                code, text, data = StatusCode.CANCELLED, "", b""
            response = getattr(pb, method.output_type.name).FromString(data)
            self.findings.answer(f"message {number} to {path}", code, text, response)
            self.watch.told()

    def _message(self, type_: Any, number: int, part: int) -> bytes:
        seed = self._run_of.seed + part
        made: bytes = self._messages.message(type_, seed, number, self._known, self._now_us)
        return made

    def _called(self, channel: Any, path: str, method: Any, parts: list[bytes], rng: random.Random) -> Any:
        canary = self._messages.CANARY
        metadata = ((f"{canary}-x", canary), (f"{canary}-bin", canary.encode())) if rng.random() < 0.05 else ()
        if method.client_streaming:
            return channel.stream_unary(path)(iter(parts), timeout=DEADLINE_S, metadata=metadata)
        return channel.unary_unary(path)(parts[0], timeout=DEADLINE_S, metadata=metadata)

    async def _go_on(self, stub: Any) -> None:
        """Ask as any client does, and want an answer each time."""
        ids = [f"steady-{n}" for n in range(10)]
        while True:
            message = pb.RankRequest(user_id="steady", candidates=[pb.Candidate(item_id=item_id) for item_id in ids])
            try:
                answer = await stub.Rank(message, timeout=DEADLINE_S)
            except aio.AioRpcError as error:
                self.findings.add("the other client", f"{error.code()}: {error.details()}")
            else:
                self.steady += 1
                if sorted(item.item_id for item in answer.items) != ids:
                    self.findings.add("the other client", "was answered with other items")
                if not all(math.isfinite(item.score) for item in answer.items):
                    self.findings.add("the other client", "was answered with what is no score")
            await asyncio.sleep(0.01)


def look_through(log: Path, findings: Any) -> None:
    """Look at what a server has written of its own accord: lines of JSON, and nothing else."""
    for line in log.read_text(errors="replace").splitlines():
        findings.line("log", line)
        if not line.startswith("{"):
            findings.add("log", f"has a line that nobody formatted: {line}")
        elif '"level": "error"' in line:
            findings.add("log", f"has a fault: {line}")
