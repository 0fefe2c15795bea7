"""Slow rankings are warned of, with where their time went, and not too often."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from recsys.schema import Ranking
from serving.client import RankingClient
from serving.telemetry.slow import SlowLog

RANKING = Ranking(request_id="r", bundle_id="b", items=(), text_coverage=1.0)


def told(log: SlowLog, times: int) -> list[int]:
    """Tell of slow rankings; returns how many each line says were left out."""
    with capture_logs() as lines:
        for _ in range(times):
            log.tell(RANKING, {"text": 0.2}, candidates=3, seconds=0.3)
    return [line["left_out"] for line in lines]


def test_a_slow_ranking_is_one_warning_with_its_stages_and_a_fast_one_is_none(watched: Any, figure: Any) -> None:
    with RankingClient(watched.address, deadline_s=10) as client, capture_logs() as lines:
        client.rank("canary-user", ["canary-a", "canary-b"], request_id="canary-1", surface="slow", query="0.2")
        client.rank("canary-user", ["canary-a"], request_id="canary-2")

    (line,) = [line for line in lines if line["event"] == "slow"]
    assert (line["log_level"], line["candidates"]) == ("warning", 2)
    assert line["request_id"] == watched.servicer.pseudonyms.of("canary-1")
    assert (line["bundle_id"], line["degraded"]) == ("20260102T030405Z-0123abcd", [])
    assert line["ms"] > 200
    assert line["stages_ms"].keys() == {"queue", "trees", "wire"}
    assert "canary" not in str(line)
    assert figure("recsys_slow_answers_total") == 1


def test_five_lines_a_second_are_enough_and_the_next_one_counts_the_others() -> None:
    now = [10.0]
    log = SlowLog(0.25, clock=lambda: now[0])

    assert told(log, 100) == [0, 0, 0, 0, 0]
    now[0] = 11.0
    assert told(log, 2) == [95, 0]


def test_without_the_limit_there_would_be_a_line_each() -> None:
    assert len(told(SlowLog(0.25, per_second=1_000, clock=lambda: 10.0), 100)) == 100
