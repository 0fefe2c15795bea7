"""Which errors a caller may read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

from recsys.errors import BundleError, InvalidRequest, NoEventLog, NotReady, NotRecorded, Overloaded
from serving.status import PUSHBACK, refuse, status_of


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
        async def abort(self, *answer: Any) -> None:
            told.append(int(dict(answer[2])[PUSHBACK]))

    async def refused() -> None:
        for _ in range(100):
            await refuse(Context(), Overloaded("too many wait", after_s=0.4))

    asyncio.run(refused())

    assert (min(told) >= 400, max(told) <= 500, len(set(told)) > 20) == (True, True, True)
