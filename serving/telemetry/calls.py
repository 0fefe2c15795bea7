"""Watches every call from its bytes to its code, whoever answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import grpc
from grpc import StatusCode

from serving.telemetry.metrics import Metrics
from serving.telemetry.recent import Recent
from serving.telemetry.tracing import Tracing


class Calls:
    """What is known of the calls of each method; for the event loop's thread, ``in_flight`` and ``recent`` for any."""

    def __init__(self, metrics: Metrics, tracing: Tracing | None) -> None:
        self.tracing = tracing
        self._metrics = metrics
        self._methods: dict[str, _Method] = {}

    def of(self, method: str) -> _Method:
        """Return a method's own part."""
        found = self._methods.get(method)
        if found is None:
            found = self._methods[method] = _Method(method, self._metrics)
        return found

    def count(self, method: str) -> int:
        """Count the calls of one method that are being answered."""
        found = self._methods.get(method)
        return 0 if found is None else found.in_flight

    def in_flight(self) -> dict[tuple[str, ...], float]:
        """Count the calls that are being answered, by method."""
        return {(name,): method.in_flight for name, method in list(self._methods.items())}

    @property
    def recent(self) -> dict[str, Recent]:
        """The last minutes, by method."""
        return {name: method.recent for name, method in list(self._methods.items())}


class _Method:
    """One method, with its metrics' children looked up once."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self.recent = Recent()
        self.in_flight = 0
        self._seconds = metrics.call_seconds.labels(name)
        self._codes = {code.name: metrics.calls.labels(name, code.name) for code in StatusCode}

    async def watched(self, call: Callable[[], Awaitable[Any]], context: Any, ended: Callable[[str], None]) -> Any:
        """Have a call answered, and count how it ended."""
        began = time.perf_counter()
        self.in_flight += 1
        code = "OK"
        try:
            return await call()
        except asyncio.CancelledError:
            left = context.time_remaining()
            code = _told(context) or ("DEADLINE_EXCEEDED" if left is not None and left <= 0 else "CANCELLED")
            raise
        except BaseException:
            # An error that nobody has translated is what gRPC calls UNKNOWN.
            code = _told(context) or "UNKNOWN"
            raise
        finally:
            self.in_flight -= 1
            ended(code)
            # The answer leaves first.
            asyncio.get_running_loop().call_soon(self._note, code, time.perf_counter() - began)

    def _note(self, code: str, seconds: float) -> None:
        self._seconds.observe(seconds)
        self._codes[code].inc()
        self.recent.add(code, seconds)


class CallsInterceptor:
    """Watches the methods of one service that have one answer; to stand before all other interceptors."""

    def __init__(self, calls: Calls, service: str) -> None:
        self._calls = calls
        self._prefix = f"/{service}/"

    def wrap(self, path: str, handler: Any) -> Any:
        """Wrap the method's handler; other services, such as health, pass through."""
        if handler.response_streaming or not path.startswith(self._prefix):
            return handler
        method = self._calls.of(path.removeprefix(self._prefix))
        answer = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def watched(request: Any, context: Any) -> Any:
            with self._span(path, context) as ended:
                return await method.watched(lambda: answer(request, context), context, ended)

        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(watched, handler.request_deserializer, handler.response_serializer)

    def _span(self, path: str, context: Any) -> AbstractContextManager[Callable[[str], None]]:
        if self._calls.tracing is None:
            return nullcontext(_nobody)
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        return self._calls.tracing.call(path.removeprefix("/"), metadata)


def _told(context: Any) -> str:
    """Return with which code a call was ended, sent or not; empty where gRPC was told none."""
    code = context.code()
    return code.name if isinstance(code, StatusCode) and code is not StatusCode.OK else ""


def _nobody(_code: str) -> None:
    """Nobody follows this call."""
