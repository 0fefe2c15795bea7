"""The log is JSON lines that quote no caller."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from serving.logging import configure_logging, frames_of


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_one_json_object_with_time_level_and_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    with structlog.contextvars.bound_contextvars(request_id="r\n1"):
        structlog.get_logger().warning("call", code="OK")

    (line,) = capsys.readouterr().err.splitlines()
    fields = json.loads(line)
    assert fields.pop("timestamp").endswith("Z")
    assert fields == {"event": "call", "level": "warning", "code": "OK", "request_id": "r\n1"}


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning")
    structlog.get_logger().info("call")

    assert capsys.readouterr().err == ""


def test_an_error_is_told_by_place_and_type_without_its_message() -> None:
    def broken() -> None:
        raise KeyError("user-7")

    try:
        try:
            broken()
        except KeyError as cause:
            raise RuntimeError("user-7 again") from cause
    except RuntimeError as error:
        frames = frames_of(error)

    assert [frame.split(" ")[-1] for frame in frames] == [
        "test_an_error_is_told_by_place_and_type_without_its_message",
        "RuntimeError",
        "test_an_error_is_told_by_place_and_type_without_its_message",
        "broken",
        "KeyError",
    ]
    assert "user-7" not in " ".join(frames)
