"""A real server's handlers behind its own interceptors, asked without the wire: what comes in is bytes."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import uvloop
from grpc import StatusCode, aio

from serving.pb import ranking_pb2 as pb

# How many are asked at a time; the events of those that are share a commit.
TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller gets: a code with its text, or the bytes of an answer."""

    code: StatusCode
    text: str = ""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Details:
    """What interceptors are told of a call."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class Call:
    """What gRPC gives a handler besides the message."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._code: StatusCode | None = None
        self.text = ""
        self._parts = iter(parts)

    async def read(self) -> Any:
        return next(self._parts, aio.EOF)

    async def abort(self, code: StatusCode, text: str = "", trailers: object = ()) -> None:  # noqa: ARG002
        self._code, self.text = code, text
        raise aio.AbortError

    def set_code(self, code: StatusCode) -> None:
        self._code = code

    def code(self) -> StatusCode | None:
        return self._code

    def time_remaining(self) -> float | None:
        return None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}


@dataclass
class Listening:
    """One of the ports that a server opens: who stands before it, and what is behind."""

    interceptors: Sequence[Any]
    handlers: list[Any] = field(default_factory=list)

    async def handler(self, details: Details) -> Any:
        """Find a method's handler, wrapped as gRPC has it wrapped."""

        async def found(_details: Any) -> Any:
            return next((each for one in self.handlers if (each := one.service(details))), None)

        def behind(interceptor: Any, further: Any) -> Any:
            return lambda told: interceptor.intercept_service(further, told)

        continuation: Any = found
        for interceptor in reversed(self.interceptors):
            continuation = behind(interceptor, continuation)
        return await continuation(details)

    async def ask(self, path: str, parts: Sequence[bytes]) -> Answer:
        """Call a method with the bytes of one message, or of several where it takes a stream."""
        handler, call = await self.handler(Details(path)), Call(parts)
        if handler is None:
            return Answer(StatusCode.UNIMPLEMENTED)

        async def stream() -> AsyncIterator[bytes]:
            for part in parts:
                await asyncio.sleep(0)
                yield part

        try:
            if handler.request_streaming:
                response = await handler.stream_unary(stream(), call)
            else:
                response = await handler.unary_unary(parts[0], call)
        except aio.AbortError:
            return Answer(call.code() or StatusCode.UNKNOWN, call.text)
        except Exception as error:  # noqa: BLE001 - so gRPC tells what nobody has translated
            return Answer(StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")
        return Answer(StatusCode.OK, data=handler.response_serializer(response))


@contextmanager
def listened() -> Iterator[list[Listening]]:
    """Take note of each port that is opened in this block, with what is put behind it; they work as ever."""
    ports: list[Listening] = []
    make = aio.server

    def noted(*args: Any, **kwargs: Any) -> Any:
        server = make(*args, **kwargs)
        port = Listening(tuple(kwargs.get("interceptors") or ()))
        ports.append(port)
        add = server.add_generic_rpc_handlers

        def added(handlers: Any) -> None:
            port.handlers.extend(handlers)
            add(handlers)

        server.add_generic_rpc_handlers = added
        return server

    with patch.object(aio, "server", noted):
        yield ports


def methods() -> list[tuple[str, Any]]:
    """Name the methods of every service with the type of their messages; rankings are the most that is asked."""
    found = [
        (f"/{service.full_name}/{method.name}", method)
        for service in pb.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    ranks = [one for one in found if one[0].endswith("/Rank")]
    return [*found, *ranks * 4]


class Fuzz:
    """One run: the messages of a seed from a number on, and what was found."""

    def __init__(self, run: Any, beside: Callable[[str], Any], known: Mapping[str, Sequence[str]]) -> None:
        self._messages, self._leaks = beside("messages"), beside("leaks")
        self.findings = self._leaks.Findings(self._messages.CANARY)
        self.watch = beside("watching").Watch(run.count, beside("memory").resident, self.findings)
        self._fill = beside("callers").Callers
        self._run_of = run
        self._known = known
        self._now_us = time.time_ns() // 1_000

    def run(self, server: Any, say: Callable[[str], None]) -> None:
        """Ask everything of a server in this process."""
        gc.collect()  # what an earlier test has left would hide growth when it goes
        with self._leaks.Listener(self.findings), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run(server, say))

    async def _run(self, server: Any, say: Callable[[str], None]) -> None:
        with listened() as ports:
            await server.start()
        await server.load()
        if self._run_of.count > 1_000:  # so that growth is growth, and not the cache of the event log
            await self._fill(server.address, list(self._known["item_id"]), seed=0).fill(80)
        numbers = iter(self._run_of.numbers)

        def page() -> str:
            with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=300) as answer:
                return str(answer.read().decode())

        await asyncio.gather(self.watch.go_on(page, say), *(self._ask(ports, numbers) for _ in range(TOGETHER)))
        assert await server.stop()

    async def _ask(self, ports: list[Any], numbers: Iterator[int]) -> None:
        everything = methods()
        for number in numbers:
            path, method = everything[random.Random(self._run_of.seed ^ number).randrange(len(everything))]
            type_ = method.input_type
            count = 1 + number % 4 if method.client_streaming else 1
            parts = [self._message(type_, number, part) for part in range(count)]
            answers = [await port.ask(path, parts) for port in ports]
            # One port has the method, the others don't.
            (answer,) = [one for one in answers if one.code.name != "UNIMPLEMENTED"]
            response = None
            if answer.data and self._messages.CANARY.encode() in answer.data:
                response = getattr(pb, method.output_type.name).FromString(answer.data)
            self.findings.answer(f"message {number} to {path}", answer.code, answer.text, response)
            self.watch.told()

    def _message(self, type_: Any, number: int, part: int) -> bytes:
        seed = self._run_of.seed + part
        made: bytes = self._messages.message(type_, seed, number, self._known, self._now_us)
        return made
