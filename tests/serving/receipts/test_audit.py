"""The audit finds nothing in a system that is healthy, and each planted fault in one that is not."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.events import Interaction, Logged
from recsys.pipeline import RankingPipeline
from recsys.schema import Ranking, RankRequest, Rung, RungReason
from recsys.scored import Scored
from serving.receipt_log import ReceiptLog
from serving.receipt_replay import find_receipts, replay_own
from serving.receipt_rows import Run
from serving.recomputation import Recomputation

RUNGS = list(Rung)
HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000


def names(found: Any) -> set[str]:
    return {each.feature for each in found.mismatches}


def change_log(tmp_path: Path, statement: str, *values: object) -> int:
    with closing(sqlite3.connect(tmp_path / "live" / "events.db", isolation_level=None)) as base:
        return base.execute(statement, values).rowcount


def test_a_healthy_server_scored_what_the_logs_say_across_restarts_and_changes_of_items(
    serve: Any, traffic: Any, audited: Any
) -> None:
    with serve() as client:
        first = traffic(client, seed=1)
        first.run(25)
        first.run(25, items=True)
    with serve() as client:
        second = traffic(client, seed=2)
        second.items = first.items
        second.run(25, items=True)
        second.run(15)
    found = audited()

    assert found.mismatches == ()
    assert found.early == ()
    assert found.passed
    assert found.receipts + sum(found.left_out.values()) == 90
    assert found.receipts > 80
    assert found.values > 90 * 8 * 50


def test_nothing_is_found_where_callers_rank_tell_and_change_items_at_once(
    serve: Any, traffic: Any, audited: Any
) -> None:
    items: list[str] = []
    for run in range(2):
        with serve() as client:
            users = [traffic(client, seed=10 * run + number) for number in range(3)]
            users[0].items = items or users[0].items
            with ThreadPoolExecutor(3) as threads:
                list(threads.map(lambda user: user.run(25, items=user is users[0]), users))  # noqa: B023
            items = users[0].items
    found = audited()

    assert (found.mismatches, found.early) == ((), ())
    assert found.receipts > 100
    assert set(found.left_out) <= {"items changed while they were ranked"}


def test_a_server_that_was_killed_learns_again_what_its_snapshot_lacks(
    serve: Any, traffic: Any, audited: Any, tmp_path: Path
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(10)
    (snapshot,) = (tmp_path / "live").glob("state-*.safetensors")
    kept = snapshot.read_bytes()
    with serve() as client:
        traffic(client, seed=2).run(10)
    snapshot.write_bytes(kept)  # as if the second run had not come to write its own
    with serve() as client:
        traffic(client, seed=3).run(10)
    snapshot.unlink()
    with serve() as client:
        traffic(client, seed=4).run(10)

    found = audited()
    assert (found.receipts, found.mismatches) == (40, ())


def test_the_newest_receipts_alone_can_be_audited(serve: Any, traffic: Any, audited: Any) -> None:
    with serve() as client:
        traffic(client, seed=1).run(12)

    assert (audited(limit=5).receipts, audited(limit=5).mismatches) == (5, ())


def test_receipts_of_a_bundle_that_is_gone_are_left_out_and_counted(
    serve: Any, traffic: Any, tmp_path: Path, tiny_registry: Path
) -> None:
    from recsys.registry import Registry
    from serving.receipt_audit import audit

    with serve() as client:
        traffic(client, seed=1).run(3)
    with closing(sqlite3.connect(tmp_path / "live" / "receipts.sqlite", isolation_level=None)) as base:
        base.execute("UPDATE runs SET bundle_id = '20200101T000000Z-00000000'")
    found = audit(tmp_path / "live", Registry(tiny_registry).path)

    assert found.receipts == 0
    assert found.left_out == {"of bundle 20200101T000000Z-00000000, which the registry does not have": 3}


class OnEveryRung(RankingPipeline):
    """Answers each request on the next rung."""

    turn = 0

    def rank(self, request: RankRequest) -> Ranking:
        return super().rank_many([request])[0].ranking()  # as it is warmed up with

    def rank_many(self, requests: Sequence[RankRequest], *_: Any) -> list[Scored]:
        type(self).turn += 1
        return super().rank_many(requests, RUNGS[self.turn % len(RUNGS)], RungReason.LOAD)


def test_what_was_answered_on_a_lower_rung_is_audited_and_replayed_on_that_rung(
    serve: Any, traffic: Any, audited: Any, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(OnEveryRung) as client:
        traffic(client, seed=1).run(20, items=True)
    found = audited()
    receipts = [find_receipts(tmp_path / "live", f"request-1-{n}")[0].receipt for n in range(1, 21)]

    assert {(receipt.rung, receipt.rung_reason) for receipt in receipts} == {(rung, RungReason.LOAD) for rung in RUNGS}
    assert found.passed
    assert found.receipts > 10
    for receipt in receipts[-5:]:
        replayed = replay_own(receipt, tiny_bundle)
        assert replayed.faults == ()
        assert replayed.ranking.rung is receipt.rung
        assert any(replayed.reasons.values()) == (receipt.rung is Rung.FULL)

    # The control: looked into as if each had been a full ranking, they are not what they should be.
    table = Recomputation.table
    monkeypatch.setattr(Recomputation, "table", lambda self, request, unread, _: table(self, request, unread))
    assert "text_logit" in names(audited())


class OffClock(RankingPipeline):
    """Looks the past up at a moment that is minutes from the one that the request names."""

    def rank(self, request: RankRequest) -> Ranking:
        return super().rank_many([request])[0].ranking()  # as it is warmed up with

    def rank_many(self, requests: Sequence[RankRequest], *step: Any) -> list[Scored]:
        later = [replace(request, ts=request.ts + 7 * MINUTE_US) for request in requests]
        return [
            replace(scored, request=request)
            for scored, request in zip(super().rank_many(later, *step), requests, strict=True)
        ]


def test_features_of_another_moment_than_the_requests_are_found(serve: Any, traffic: Any, audited: Any) -> None:
    with serve(OffClock) as client:
        traffic(client, seed=1).run(15)
    found = audited()

    assert names(found)
    assert all(each.count <= each.of and each.first.startswith("request-1-") for each in found.mismatches)


def test_a_server_whose_clock_is_ahead_of_the_events_is_found(
    serve: Any, traffic: Any, audited: Any, tmp_path: Path
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(5)
    assert audited().early == ()
    with closing(sqlite3.connect(tmp_path / "live" / "receipts.sqlite", isolation_level=None)) as base:
        base.execute("UPDATE receipts SET time_us = time_us + ?", (10 * MINUTE_US,))
    found = audited()

    assert set(found.early) == {f"request-1-{number}" for number in range(1, 6)}
    assert found.mismatches == ()
    assert not found.passed


def test_a_request_that_is_sent_again_after_its_list_was_shown_is_no_fault_of_the_clock(
    serve: Any, traffic: Any, audited: Any, tmp_path: Path
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(1)
    log = ReceiptLog(tmp_path / "live" / "receipts.sqlite")
    (kept,) = log.named("request-1-1")
    log.begin(Run(bundle_id=kept.receipt.bundle_id, snapshot=0, events=0, items=0))
    log.keep([replace(kept.receipt, time_us=kept.receipt.time_us + HOUR_US)])
    log.close()

    assert (audited().receipts, audited().early) == (2, ())


def test_events_whose_times_are_moved_by_a_time_zone_are_found(
    serve: Any, traffic: Any, audited: Any, tmp_path: Path
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(15)
    assert audited().mismatches == ()
    assert change_log(tmp_path, "UPDATE events SET ts = ts - ?", 2 * HOUR_US) > 15

    assert names(audited())


def interaction(number: int, item_id: str, user: str = "ann") -> Interaction:
    return Interaction(
        event_id=f"event-{number}", user_id=user, item_id=item_id, type="purchase", ts=time.time_ns() // 1_000
    )


def test_an_event_that_the_state_had_not_heard_of_is_found(
    serve: Any, traffic: Any, audited: Any, tmp_path: Path
) -> None:
    with serve() as client:
        items = traffic(client, seed=1).items
        client.record([interaction(1, items[0]), interaction(2, items[1])])
    (snapshot,) = (tmp_path / "live").glob("state-*.safetensors")
    snapshot.unlink()
    with closing(sqlite3.connect(tmp_path / "live" / "events.db", isolation_level=None)) as base:
        (late,) = base.execute("SELECT * FROM events WHERE sequence = 1").fetchall()
        base.execute("DELETE FROM events WHERE sequence = 1")
    with serve() as client:
        client.rank("ann", items[:8])
    assert audited().mismatches == ()
    change_log(tmp_path, f"INSERT INTO events VALUES ({', '.join('?' * len(late))})", *late)  # noqa: S608

    assert names(audited())


class Forgetful(RankingPipeline):
    """Says that it knows the log, and has not heard every third event."""

    def learn(self, told: Sequence[Logged]) -> None:
        heard = [each for each in self.untrained(told) if each.sequence % 3]
        self.state.hear(heard, told[-1].sequence)


def test_a_state_that_missed_events_is_found(serve: Any, traffic: Any, audited: Any) -> None:
    with serve(Forgetful) as client:
        traffic(client, seed=1).run(15)

    assert names(audited())


@pytest.mark.parametrize("column", ["item_clicks", "text_logit"])
def test_a_figure_that_was_scored_otherwise_is_found_in_its_column(
    serve: Any, traffic: Any, audited: Any, tmp_path: Path, tiny_bundle: Path, column: str
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(4)
    columns = RankingPipeline.load(tiny_bundle).ranker.names
    place = columns.index(column) if column in columns else 20
    path = tmp_path / "live" / "receipts.sqlite"
    log = ReceiptLog(path)
    (kept,) = log.named("request-1-3")
    table = kept.receipt.table.copy()
    table[0, place] = 12.5
    log.keep([replace(kept.receipt, table=table)])
    log.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("UPDATE receipts SET run = 1")
    found = audited()

    wrong = {each.feature: each.count for each in found.mismatches}
    wrong.pop("(score)", None)  # which may not depend on it
    assert wrong == {columns[place]: 1}


def test_the_command_says_what_it_found_and_leaves_with_1(
    serve: Any, traffic: Any, tmp_path: Path, tiny_registry: Path
) -> None:
    import json

    from typer.testing import CliRunner

    from recsys.cli.commands import app

    with serve() as client:
        traffic(client, seed=1).run(5)
    told = ["audit", "--data", str(tmp_path / "live"), "--registry", str(tiny_registry)]
    healthy = CliRunner().invoke(app, [*told, "--json", str(tmp_path / "audit.json")])
    assert healthy.exit_code == 0, healthy.output
    assert json.loads((tmp_path / "audit.json").read_text())["receipts"] == 5
    change_log(tmp_path, "UPDATE events SET ts = ts - ?", 2 * HOUR_US)
    assert CliRunner().invoke(app, told).exit_code == 1


def test_a_directory_without_receipts_is_named(tmp_path: Path) -> None:
    from recsys.errors import ConfigError
    from serving.receipt_audit import audit

    with pytest.raises(ConfigError, match="holds no receipts"):
        audit(tmp_path, lambda _: tmp_path)
