"""What the random messages look for is found where it is planted, inside the process and over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import serving.servicer
import serving.status
from recsys.pipeline import RankingPipeline
from serving.config import ServerConfig
from serving.pb import ranking_pb2 as pb
from serving.server import RankingServer


class Run:
    """A few messages, always the same."""

    def __init__(self, count: int) -> None:
        self.seed, self.count, self.numbers = 7, count, range(count)


@pytest.fixture
def fuzz(
    tiny_bundle: Path, tmp_path: Path, beside: Any, known: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Plant a fault in this process, ask, and return how that went."""

    def run(fault: str, count: int = 100) -> Any:
        # What a fault replaces is put back after the test.
        monkeypatch.setattr(serving.servicer, "request_from_wire", serving.servicer.request_from_wire)
        monkeypatch.setattr(serving.status, "status_of", serving.status.status_of)
        if fault:
            beside("planted_server").plant(fault)
        data = tmp_path / "live"
        config = ServerConfig(registry=Path("unused"), data=data, port=0, admin_port=0, metrics_port=0, slow_ms=1)
        fuzz = beside("inside").Fuzz(Run(count), beside, known)
        fuzz.run(RankingServer(config, lambda _: RankingPipeline.load(tiny_bundle)), lambda _: None)
        beside("planted_server").KEPT.clear()
        return fuzz

    return run


def test_nothing_is_found_where_nothing_is_planted(fuzz: Any) -> None:
    assert fuzz("").findings.found == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("text", "tells 'what was sent' in: the user 'ca9ary"),
        ("unknown", "UNKNOWN: <class 'KeyError'>"),
        ("internal", "INTERNAL: internal error"),
        ("log", "log: tells what was sent"),
    ],
)
def test_a_fault_is_found(fuzz: Any, fault: str, expected: str) -> None:
    said = fuzz(fault).findings.found

    assert any(expected in line for line in said), said


def test_memory_that_is_kept_is_found(fuzz: Any) -> None:
    assert fuzz("much memory", 400).watch.growth_mib > 50


def test_a_fault_and_whom_it_harms_are_found_over_the_wire(
    tiny_registry: Path, tmp_path: Path, beside: Any, known: Any
) -> None:
    wire, findings = beside("wire"), beside("leaks").Findings(beside("messages").CANARY)
    with beside("served").served(tiny_registry, tmp_path, plant="unknown") as server:
        asyncio.run(wire.Fuzz(Run(100), server, findings, beside, known).run(lambda _: None))

    assert any(line.startswith("message ") and "UNKNOWN: " in line for line in findings.found), findings.found
    assert any(line.startswith("the other client: ") for line in findings.found)


def test_a_line_that_should_not_be_in_the_log_is_found(tmp_path: Path, beside: Any) -> None:
    findings, log = beside("leaks").Findings("ca9ary"), tmp_path / "server.log"
    asked, failed = '{"event": "asked", "user": "ca9ary-1"}', '{"event": "call", "level": "error"}'
    log.write_text(f'{{"event": "call", "level": "info"}}\n{asked}\nTraceback: KeyError\n{failed}\n')
    beside("wire").look_through(log, findings)

    expected = [" tells what was sent", " has a line that nob", ' has a fault: {"even']
    assert [line.partition(":")[2][:20] for line in findings.found] == expected


@pytest.mark.parametrize(
    "text",
    [
        "Unexpected <class 'KeyError'>: 'x'",
        "ValueError: no",
        "the file /tmp/x/y is not there",
        "in serving/servicer.py",
        "<recsys.catalog.Catalog object at 0x7f00>",
        "Traceback (most recent call last):",
    ],
)
def test_a_text_that_tells_what_the_server_is_made_of_is_found(beside: Any, text: str) -> None:
    from grpc import StatusCode

    findings = beside("leaks").Findings("ca9ary")
    findings.answer("it", StatusCode.INVALID_ARGUMENT, text, None)

    assert len(findings.found) == 1


def test_an_answer_may_say_ids_again_and_no_texts(beside: Any) -> None:
    from grpc import StatusCode

    findings = beside("leaks").Findings("ca9ary")
    ranking = pb.RankResponse(request_id="ca9ary", items=[pb.RankedItem(item_id="ca9ary")], unknown_items=["ca9ary"])
    findings.answer("it", StatusCode.OK, "", ranking)
    assert findings.found == []
    ranking.stage_seconds["ca9ary"] = 1.0
    findings.answer("it", StatusCode.OK, "", ranking)
    rejected = pb.RejectedEvent(event_id="ca9ary", message="ca9ary is no id")
    findings.answer("it", StatusCode.OK, "", pb.RecordEventsResponse(rejected=[rejected]))

    assert [line.rpartition(" ")[2] for line in findings.found] == ["stage_seconds", "message"]


def test_messages_are_the_same_for_the_same_seed_and_reach_every_field(messages: Any) -> None:
    seen: set[str] = set()
    for number in range(400):
        data = messages.message(pb.RankRequest.DESCRIPTOR, 1, number, {}, 1_780_000_000_000_000)
        assert data == messages.message(pb.RankRequest.DESCRIPTOR, 1, number, {}, 1_780_000_000_000_000)
        try:
            seen |= {field.name for field, _ in pb.RankRequest.FromString(data).ListFields()}
        except Exception:  # noqa: BLE001, S112 - it is no message, as some are not to be
            continue

    assert seen == {field.name for field in pb.RankRequest.DESCRIPTOR.fields}
