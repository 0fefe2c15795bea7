"""Calls spread over servers that answer, and spare those that do not."""

from __future__ import annotations

from typing import Any

import pytest
from grpc import StatusCode

from serving.client.lanes import Lanes


@pytest.fixture
def clock() -> Any:
    class Clock:
        now = 100.0

        def __call__(self) -> float:
            return self.now

    return Clock()


def test_lanes_take_turns(clock: Any) -> None:
    lanes = Lanes(3, clock)
    taken = []
    for _ in range(6):
        taken.append(lanes.take())
        lanes.give_back(taken[-1], failed=False)

    assert taken == [0, 1, 2, 0, 1, 2]


def test_who_has_the_least_to_do_is_taken(clock: Any) -> None:
    lanes = Lanes(2, clock)
    assert (lanes.take(), lanes.take()) == (0, 1)
    lanes.give_back(1, failed=None)

    assert (lanes.take(), lanes.take()) == (1, 0)


def test_who_failed_rests_and_is_then_tried_by_one(clock: Any) -> None:
    lanes = Lanes(2, clock)
    lanes.give_back(lanes.take(), failed=True)
    assert [lanes.take() for _ in range(5)] == [1] * 5

    clock.now += 1
    assert [lanes.take() for _ in range(3)] == [0, 1, 1]

    lanes.give_back(0, failed=False)
    assert [lanes.take() for _ in range(3)] == [0, 0, 0]


def test_where_all_failed_all_are_tried(clock: Any) -> None:
    lanes = Lanes(2, clock)
    for _ in range(2):
        lanes.give_back(lanes.take(), failed=True)

    assert sorted([lanes.take(), lanes.take()]) == [0, 1]


def test_who_was_tried_is_avoided_where_another_is_there(clock: Any) -> None:
    lanes = Lanes(2, clock)

    assert [lanes.take({0}), lanes.take({0}), lanes.take({0, 1})] == [1, 1, 0]


def test_a_lane_that_runs_is_never_taken_besides_itself(clock: Any) -> None:
    lanes = Lanes(2, clock)
    lanes.give_back(1, failed=True)

    assert lanes.take(besides={0}) == 1


def test_a_server_that_is_away_does_not_draw_all_calls(client_of: Any, telling: Any) -> None:
    away, there = telling((StatusCode.UNAVAILABLE, None), forever=True), telling()
    client = client_of([away.address, there.address], deadline_s=60)
    for _ in range(100):
        client.rank("u", ["a"])

    # Taken in turn it would be fifty, and the allowance would be gone after a dozen.
    assert len(away.arrivals) < 12
