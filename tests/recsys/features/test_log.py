"""Logs count what a plain loop counts, strictly before the moment asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.features.log import ActionLog, CountLog, PairLog

EVENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 11), st.integers(0, 1)), max_size=40)


def _build(events: list[tuple[int, int, int]], *, stride: int = 1) -> CountLog:
    frame = pl.DataFrame(
        {
            "key": [key for key, _, _ in events],
            "tick": [tick for _, tick, _ in events],
            "views": [1] * len(events),
            "clicked": [clicked for *_, clicked in events],
        },
        schema={"key": pl.Int64, "tick": pl.Int64, "views": pl.Int64, "clicked": pl.Int64},
    )
    return CountLog.build(frame, keys=4, ticks=12, counted=("views", "clicked"), stride=stride)


@given(events=EVENTS, key=st.integers(-1, 3), tick=st.integers(0, 12), window=st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_a_log_counts_what_a_loop_counts(events: list[tuple[int, int, int]], key: int, tick: int, window: int) -> None:
    log = _build(events)
    since = max(tick - window, 0)

    ever = log.before(np.array([key]), np.array([tick]))
    lately = log.before(np.array([key]), np.array([tick]), np.array([since]))

    earlier = [event for event in events if event[0] == key and event[1] < tick]
    recent = [event for event in earlier if event[1] >= since]
    assert ever.tolist() == [[len(earlier), sum(event[2] for event in earlier)]]
    assert lately.tolist() == [[len(recent), sum(event[2] for event in recent)]]
    assert log.newest(np.array([key]), np.array([tick])).tolist() == [max((e[1] for e in earlier), default=-1)]


@given(events=EVENTS, stride=st.integers(2, 7), tick=st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_a_coarse_log_never_knows_the_present_and_knows_everything_at_its_end(
    events: list[tuple[int, int, int]], stride: int, tick: int
) -> None:
    log = _build(events, stride=stride)
    keys = np.arange(4)

    seen = log.before(keys, np.full(4, tick))[:, 0]
    at_end = log.before(keys, np.full(4, 12))[:, 0]

    for key in range(4):
        assert seen[key] <= sum(1 for event in events if event[0] == key and event[1] < tick)
        assert seen[key] >= sum(1 for event in events if event[0] == key and event[1] < tick - stride + 1)
        assert at_end[key] == sum(1 for event in events if event[0] == key)


def test_many_questions_are_answered_like_one_at_a_time() -> None:
    rng = np.random.default_rng(0)
    log = _build([(int(key), int(tick), int(tick % 2)) for key, tick in rng.integers(0, [4, 12], (60, 2))])
    keys, ticks = rng.integers(-1, 4, 50), rng.integers(0, 13, 50)

    together = log.before(keys, ticks)
    alone = np.concatenate([log.before(keys[place : place + 1], ticks[place : place + 1]) for place in range(50)])

    assert together.tolist() == alone.tolist()


def test_a_log_of_nothing_counts_nothing() -> None:
    log = _build([])

    assert log.before(np.array([0, -1]), np.array([5, 12])).tolist() == [[0, 0], [0, 0]]
    assert log.newest(np.array([0]), np.array([12])).tolist() == [-1]


@pytest.mark.parametrize(
    ("left", "right", "tick", "expected"), [(1, 2, 9, 2), (2, 1, 9, 2), (2, 1, 5, 1), (0, 2, 9, 0)]
)
def test_a_pair_counts_the_same_either_way_round(left: int, right: int, tick: int, expected: int) -> None:
    events = pl.DataFrame({"key": [0, 0], "tick": [4, 5], "clicks": [1, 1]})
    log = PairLog(
        pairs=np.array([1 * 3 + 2]), counts=CountLog.build(events, keys=1, ticks=9, counted=("clicks",)), items=3
    )

    assert log.before(np.array([left]), np.array([right]), np.array([tick])).tolist() == [expected]


def test_a_pair_with_an_unknown_item_counts_nothing() -> None:
    events = pl.DataFrame({"key": [0], "tick": [4], "clicks": [1]})
    log = PairLog(pairs=np.array([2]), counts=CountLog.build(events, keys=1, ticks=9, counted=("clicks",)), items=3)

    assert log.before(np.array([-1, -1]), np.array([2, -1]), np.array([9, 9])).tolist() == [0, 0]


def test_actions_come_newest_first_and_never_another_users() -> None:
    order = np.array([0 * 10 + 3, 0 * 10 + 5, 1 * 10 + 4, 1 * 10 + 6, 1 * 10 + 6])
    log = ActionLog(order=order, items=np.arange(5, dtype=np.int32), actions=np.ones(5, np.int8), span=10)

    places = log.newest(np.array([1, 1, 0, -1]), np.array([7, 6, 9, 9]), 3)

    assert places.tolist() == [[4, 3, 2], [2, -1, -1], [1, 0, -1], [-1, -1, -1]]
