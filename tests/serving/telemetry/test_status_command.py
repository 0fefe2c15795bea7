"""What `recsys status` prints, and what it says where it cannot."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recsys.cli.commands import app
from recsys.errors import NotReady
from recsys.gpu import GpuState
from serving.client import RankingClient
from serving.report import ServerReport, Store
from serving.swap_report import Swapped, SwapReport
from serving.telemetry.recent import RecentCalls

REPORT = ServerReport(
    bundle_id="b-2",
    created_us=2,
    code_version="0.1.0",
    current_bundle_id="b-3",
    uptime_s=90_000.0,
    load_s=3.5,
    state_versions={"log": 7},
    state_age_s=4.0,
    event_log_sequence=9,
    store=Store.BEHIND,
    in_flight=3,
    queue_length=2,
    methods=(RecentCalls(method="Rank", calls=10, failed=1, refused=2, p50_s=0.01, p99_s=0.5),),
    degraded={"no_state": 5},
    pending_texts=6,
    memory_bytes=1 << 30,
    gpu=GpuState.LOST,
    gpu_faults=4,
    shed={"queue": 3, "quota": 2},
    in_flight_limit=66,
    swaps=SwapReport(
        before="b-1",
        last_refusal=Swapped(
            bundle_id="b-3", from_bundle_id="b-2", time_us=1, seconds=1.0, reason="not [red] but [/b]"
        ),
    ),
)


def test_the_command_shows_it_and_writes_it_for_scripts(watched: Any, tmp_path: Path) -> None:
    with RankingClient(watched.address) as client:
        client.rank("u", ["a"])
    done = CliRunner().invoke(app, ["status", watched.admin, "--json", str(tmp_path / "status.json")])

    assert done.exit_code == 0, done.output
    assert "20260102T030405Z-0123abcd" in done.output
    assert "Rank" in done.output
    written = json.loads((tmp_path / "status.json").read_text())
    assert written["methods"][0]["method"] in {"GetStatus", "Rank"}
    assert written["store"] == "own"


def test_the_command_says_what_to_do_where_nobody_answers() -> None:
    done = CliRunner().invoke(app, ["status", "127.0.0.1:1"])

    assert done.exit_code == 1
    assert isinstance(done.exception, NotReady)
    assert "--admin-port 50052" in str(done.exception)


def test_watching_asks_again_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.cli import status

    monkeypatch.setattr(status, "_EVERY_S", 0.0)
    answers = [REPORT, replace(REPORT, in_flight=7)]

    def ask() -> ServerReport:
        if not answers:
            raise KeyboardInterrupt
        return answers.pop(0)

    assert status._watch(ask, REPORT).in_flight == 7
    assert answers == []


def test_what_went_wrong_stands_out(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from recsys.cli.status import _plain, _shown

    Console(width=120).print(_shown(REPORT))

    shown = capsys.readouterr().out
    for said in (
        "b-3 is promoted, and not served",
        "rollback to  ",
        "b-1",
        "not [red] but [/b]",
        "10.00%",
        "no_state: 5",
        "behind",
        "25.0 h",
        "500.0 ms",
        "lost, the CPU",
        "failed 4 times",
    ):
        assert said in shown
    assert _plain({"p50_s": math.nan, "calls": (1,)}) == {"p50_s": None, "calls": [1]}
