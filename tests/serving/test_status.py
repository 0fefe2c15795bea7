"""Which errors a caller may read."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from recsys.errors import BundleError, InvalidRequest, NoEventLog, NotReady, NotRecorded, Overloaded
from serving.status import status_of


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
