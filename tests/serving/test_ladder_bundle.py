"""A real bundle behind a real port, with too little time, too much to do, or a text model that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, ItemText, Ranking, Rung, RungReason
from serving.client import RankingClient, ServiceError
from serving.config import ServerConfig

READS_FOR_S, DEADLINE_S = 1.0, 0.9
POISON = Candidate(item_id="poison", text=ItemText(title="A poisoned lamp"))


class Reader:
    """The text model of a pipeline, which takes its time when it is told to, and fails at one text."""

    def __init__(self, pipeline: RankingPipeline) -> None:
        self.slow, self.held = False, threading.Event()
        self.held.set()
        self._plain = pipeline.list_text.of_requests
        pipeline.list_text.of_requests = self.read  # type: ignore[method-assign]

    def read(self, requests: Any, *given: Any, **more: Any) -> Any:
        if self.slow:
            time.sleep(READS_FOR_S)
        assert self.held.wait(60)
        if any(POISON.item_id in request.item_ids for request in requests):
            raise RuntimeError(f"cannot read {POISON.text}")
        return self._plain(requests, *given, **more)


@pytest.fixture
def served(serve: Any, tiny_bundle: Path) -> Any:
    @contextmanager
    def start(**settings: Any) -> Iterator[tuple[Any, Reader, list[str]]]:
        pipeline = RankingPipeline.load(tiny_bundle)
        reader = Reader(pipeline)
        config = ServerConfig(registry=Path("unused"), port=0, threads=1, metrics_port=0, **settings)
        with serve(pipeline, config) as running:
            yield running, reader, list(pipeline.catalog.ids[:12])

    return start


def rank(running: Any, candidates: list[Any], *, deadline_s: float = 30.0, **fields: Any) -> Ranking:
    with RankingClient(running.address, deadline_s=deadline_s, tries=1) as client:
        return client.rank("u1", candidates, **fields)


def test_where_the_text_would_come_too_late_the_answer_comes_without_and_says_so(served: Any) -> None:
    with served() as (running, reader, ids):
        reader.slow = True
        assert rank(running, ids).rung is Rung.FULL  # from which the server learns how long it takes
        hurried = rank(running, ids, deadline_s=DEADLINE_S)
        patient = rank(running, ids)
        counted = running.telemetry.registry.get_sample_value(
            "recsys_steps_down_total", {"rung": "behaviour", "reason": "deadline"}
        )

    assert (hurried.rung, hurried.rung_reason, hurried.text_coverage) == (Rung.BEHAVIOUR, RungReason.DEADLINE, 0.0)
    assert sorted(item.item_id for item in hurried.items) == sorted(ids)
    assert (patient.rung, patient.rung_reason, patient.text_coverage) == (Rung.FULL, None, 1.0)
    assert counted == 1


def test_the_control_without_the_ladder_the_same_request_has_no_answer(served: Any) -> None:
    with served(ladder=False) as (running, reader, ids):
        reader.slow = True
        assert rank(running, ids).rung is Rung.FULL
        with pytest.raises(ServiceError, match="gave no answer within"):
            rank(running, ids, deadline_s=DEADLINE_S)


def test_under_a_load_that_lasts_everybody_is_answered_from_a_lower_rung(served: Any) -> None:
    with served(ladder_down=1e-6, ladder_up=1e-7, ladder_down_s=0.0) as (running, _, ids):
        first, second = rank(running, ids), rank(running, ids)

    assert (first.rung, first.rung_reason) == (Rung.FULL, None)
    assert second.rung is not Rung.FULL
    assert second.rung_reason is RungReason.LOAD


@pytest.mark.parametrize(("turned_away", "rung"), [(True, Rung.BEHAVIOUR), (False, Rung.FULL)])
def test_while_people_are_turned_away_those_who_are_let_in_are_answered_without_text(
    served: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch, turned_away: bool, rung: Rung
) -> None:
    monkeypatch.setattr("serving.yielding._RECENT_S", 60.0)
    with served(most_waiting=1, ladder_down=10.0, ladder_down_s=0.0) as (running, reader, ids):
        reader.held.clear()
        with ThreadPoolExecutor(2) as others, RankingClient(running.address, deadline_s=30, tries=1) as one_more:
            others.submit(rank, running, ids)
            eventually(lambda: running.servicer._admission.in_flight and not running.servicer.waiting)
            waits = others.submit(rank, running, ids)
            eventually(lambda: running.servicer.waiting)
            if turned_away:
                with pytest.raises(ServiceError, match="RESOURCE_EXHAUSTED"):
                    one_more.rank("u1", ids)
            reader.held.set()
            found = waits.result()

    assert found.rung is rung
    assert found.rung_reason is (RungReason.LOAD if turned_away else None)


def test_a_request_at_which_the_text_model_fails_is_ranked_without(served: Any, capsys: Any) -> None:
    with served() as (running, _, ids):
        ill, well = rank(running, [*ids, POISON]), rank(running, ids)

    assert (ill.rung, ill.rung_reason, len(ill.items)) == (Rung.BEHAVIOUR, RungReason.FAULT, 13)
    assert ill.unknown_items == ("poison",)
    assert (well.rung, well.rung_reason) == (Rung.FULL, None)
    log = capsys.readouterr().out
    assert "text model failed" in log
    assert "poisoned" not in log


def test_the_control_without_the_ladder_it_is_a_fault_of_the_server(served: Any) -> None:
    with served(ladder=False) as (running, _, ids), pytest.raises(ServiceError, match="INTERNAL"):
        rank(running, [*ids, POISON])


def test_on_a_lower_rung_items_come_without_reasons(served: Any) -> None:
    with served() as (running, _, ids), RankingClient(running.address, deadline_s=30) as client:
        well, ill = client.explain("u1", ids), client.explain("u1", [*ids, POISON])

    assert all(well.reasons.values())
    assert ill.ranking.rung is Rung.BEHAVIOUR
    assert not any(ill.reasons.values())
