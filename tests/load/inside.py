"""A real server's handlers behind its own interceptors, called without the wire: what comes in is bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from grpc import StatusCode, aio


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

    def __init__(self) -> None:
        self._code: StatusCode | None = None
        self.text = ""

    async def abort(self, code: StatusCode, text: str = "", trailers: object = ()) -> None:  # noqa: ARG002
        self._code, self.text = code, text
        raise aio.AbortError

    def code(self) -> StatusCode | None:
        return self._code

    def time_remaining(self) -> float | None:
        return None

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
        handler, call = await self.handler(Details(path)), Call()
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
