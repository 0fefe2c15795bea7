"""The event loop ranks only while nobody else would wait for it, and only what is short."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recsys.schema import Candidates, RankRequest
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.one_at_a_time import OneAtATime

BRIEF = RankRequest(user_id="u", request_id="r", candidates=Candidates(["a", "b"]), ts=1, surface="brief")


@pytest.fixture
def model(length_model: Any) -> Any:
    return length_model.LengthModel()


def asked(seen: OneAtATime, model: Any, *requests: RankRequest) -> list[bool]:
    return [seen.suits(model, request) for request in requests]


def test_it_takes_sixteen_in_a_row_that_met_nobody_and_every_sixteenth_is_for_a_thread(model: Any) -> None:
    seen = OneAtATime(lambda: 1)

    assert asked(seen, model, *[BRIEF] * 50) == [False] * 16 + ([True] * 15 + [False]) * 2 + [True] * 2


def test_one_that_meets_another_begins_the_count_anew(model: Any) -> None:
    in_flight = 1
    seen = OneAtATime(lambda: in_flight)
    asked(seen, model, *[BRIEF] * 17)
    in_flight = 2
    assert asked(seen, model, BRIEF) == [False]
    in_flight = 1

    assert asked(seen, model, *[BRIEF] * 17) == [False] * 16 + [True]


@pytest.mark.parametrize(
    ("surface", "candidates", "suits"), [("brief", 200, True), ("brief", 201, False), ("", 2, False)]
)
def test_a_long_list_and_what_may_wait_for_something_are_for_threads(
    model: Any, surface: str, candidates: int, suits: bool
) -> None:
    seen = OneAtATime(lambda: 1)
    asked(seen, model, *[BRIEF] * 17)
    ids = [str(number) for number in range(candidates)]

    request = RankRequest(user_id="u", request_id="r", candidates=Candidates(ids), ts=1, surface=surface)
    assert asked(seen, model, request) == [suits]


def ranked_by_the_loop(serve: Any, model: Any, callers: int) -> float:
    """Have callers ask one thing after the other, and return the share that the event loop ranked."""
    by: list[str] = []
    rank = model.rank_many

    def slow(*given: Any) -> Any:
        by.append(threading.current_thread().name)
        time.sleep(0.01)  # without Python's lock, as the models do most of their work
        return rank(*given)

    model.rank_many = slow

    def ask(address: str, times: int) -> None:
        with RankingClient(address, deadline_s=20) as client:
            for _ in range(times):
                client.rank("u", ["a"], surface="brief")

    with serve(model, ServerConfig(registry=Path("unused"), port=0, threads=4)) as running:
        ask(running.address, 20)  # so that the loop ranks when they come
        by.clear()
        with ThreadPoolExecutor(callers) as executor:
            list(executor.map(ask, [running.address] * callers, [100] * callers))
    return sum(not name.startswith("rank") for name in by) / len(by)


def test_a_caller_that_is_alone_has_the_event_loop_rank(serve: Any, model: Any) -> None:
    assert ranked_by_the_loop(serve, model, 1) > 0.7


def test_two_callers_that_go_on_and_on_do_not_take_turns_in_the_event_loop(serve: Any, model: Any) -> None:
    assert ranked_by_the_loop(serve, model, 2) < 0.4
