"""Which errors a caller may read."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from recsys.errors import BundleError, InvalidRequest, NoEventLog, NotReady, NotRecorded, Overloaded, TooLate
from serving.status import PUSHBACK, StatusInterceptor, end_with, status_of
from serving.telemetry.calls import Calls
from serving.telemetry.metrics import Metrics


class TooLong(InvalidRequest):
    pass


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InvalidRequest("send less"), StatusCode.INVALID_ARGUMENT, "send less"),
        (TooLong("send less"), StatusCode.INVALID_ARGUMENT, "send less"),
        (NotReady("wait"), StatusCode.UNAVAILABLE, "wait"),
        (NotRecorded("disk full"), StatusCode.UNAVAILABLE, "disk full"),
        (Overloaded("in a moment"), StatusCode.RESOURCE_EXHAUSTED, "in a moment"),
        (NoEventLog("use --data"), StatusCode.FAILED_PRECONDITION, "use --data"),
        (BundleError("/a/path"), StatusCode.INTERNAL, "internal error"),
        (KeyError("user-7"), StatusCode.INTERNAL, "internal error"),
        (NotImplementedError(), StatusCode.INTERNAL, "internal error"),
    ],
)
def test_only_errors_made_for_callers_keep_their_text(error: Exception, code: StatusCode, text: str) -> None:
    assert status_of(error) == (code, text)


def test_who_is_refused_at_one_moment_is_not_asked_back_at_another_and_never_too_early() -> None:
    told: list[int] = []

    class Context:
        def time_remaining(self) -> float:
            return 1.0

        def set_code(self, _code: StatusCode) -> None:
            """Nobody counts here."""

        async def abort(self, *answer: Any) -> None:
            told.append(int(dict(answer[2])[PUSHBACK]))

    async def refused() -> None:
        for _ in range(100):
            await end_with(Overloaded("too many wait", after_s=0.4), Context())

    asyncio.run(refused())

    assert (min(told) >= 400, max(told) <= 500, len(set(told)) > 20) == (True, True, True)


class Timed:
    """The context of a call that has so much time left, and what it was told to end with."""

    def __init__(self, left_s: float | None) -> None:
        self._left_s = left_s
        self.aborted: list[StatusCode] = []
        self._code: StatusCode | None = None

    def time_remaining(self) -> float | None:
        return self._left_s

    def set_code(self, code: StatusCode) -> None:
        self._code = code

    def code(self) -> StatusCode | None:
        return self._code

    async def abort(self, code: StatusCode, *_: Any) -> None:
        self.aborted.append(code)
        raise aio.AbortError


def guarded(error: Exception | None) -> Any:
    """Return the method that the interceptor makes of one that sends its message back, or raises an error."""

    async def method(message: bytes, _context: Any) -> bytes:
        if error is not None:
            raise error
        return message

    handler: Any = grpc.unary_unary_rpc_method_handler(method, request_deserializer=bytes)
    return StatusInterceptor("shop").wrap("/shop/Other", handler).unary_unary


def answered(context: Timed, error: Exception | None = None) -> object:
    return asyncio.run(guarded(error)(b"answer", context))


@pytest.mark.parametrize("error", [None, TooLate("no answer in time"), Overloaded("too many wait", after_s=0.4)])
def test_whose_deadline_has_passed_is_sent_nothing_any_more(error: Exception | None) -> None:
    late = Timed(0.0)

    with pytest.raises(asyncio.CancelledError):
        answered(late, error)
    assert late.aborted == []


@pytest.mark.parametrize("left_s", [0.001, None])
def test_the_control_who_has_time_left_is_answered(left_s: float | None) -> None:
    in_time = Timed(left_s)

    assert answered(in_time) == b"answer"
    with pytest.raises(aio.AbortError):
        answered(in_time, TooLate("no answer within what the server allows"))
    assert in_time.aborted == [StatusCode.DEADLINE_EXCEEDED]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, [("info", "DEADLINE_EXCEEDED")]),
        (InvalidRequest("send less"), [("warning", "INVALID_ARGUMENT")]),
        (KeyError("user-7"), [("error", "INTERNAL")]),
    ],
)
def test_what_ends_after_its_deadline_is_logged_and_counted_by_the_same_code(
    error: Exception | None, line: list[tuple[str, str]]
) -> None:
    late, metrics = Timed(0.0), Metrics(registry := CollectorRegistry())
    watched = Calls(metrics, None).of("Other")

    async def call() -> None:
        await watched.watched(lambda: guarded(error)(b"answer", late), late, lambda _code: None)

    async def ended() -> None:
        with pytest.raises(asyncio.CancelledError):
            await call()
        await asyncio.sleep(0)  # it is counted in the loop's next round

    with capture_logs() as lines:
        asyncio.run(ended())

    assert [(each["log_level"], each["code"]) for each in lines] == line
    assert registry.get_sample_value("recsys_calls_total", {"method": "Other", "code": line[0][1]}) == 1
