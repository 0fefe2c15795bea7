"""The event loop ranks only while nobody else would wait for it, and only what is short."""

from __future__ import annotations

from typing import Any

import pytest

from recsys.schema import Candidates, RankRequest
from serving.one_at_a_time import OneAtATime

BRIEF = RankRequest(user_id="u", request_id="r", candidates=Candidates(["a", "b"]), ts=1, surface="brief")


@pytest.fixture
def model(length_model: Any) -> Any:
    return length_model.LengthModel()


def asked(seen: OneAtATime, model: Any, *requests: RankRequest) -> list[bool]:
    return [seen.suits(model, request) for request in requests]


def test_it_takes_sixteen_in_a_row_that_met_nobody(model: Any) -> None:
    seen = OneAtATime(lambda: 1)

    assert asked(seen, model, *[BRIEF] * 18) == [False] * 16 + [True] * 2


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
