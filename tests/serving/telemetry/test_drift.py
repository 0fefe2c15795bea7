"""Drift is told where it is, and only there."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recsys.events import time_ordered_id
from serving.client import RankingClient
from serving.telemetry.drift import Bins, Drift, stability_index
from serving.telemetry.drift_watch import DriftWatch

Table = npt.NDArray[np.float32]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def lists(rng: np.random.Generator, count: int, *, shift: float = 0.0, missing: float = 0.0) -> list[Table]:
    """Lists of twenty rows: a normal figure, a count that is mostly zero, a constant, and one sometimes missing."""
    tables = []
    for _ in range(count):
        table = np.stack(
            [
                rng.normal(shift, 1, 20),
                rng.poisson(0.3 + shift, 20),
                np.full(20, 3.0 - shift),
                np.where(rng.random(20) < 0.1 + missing, np.nan, rng.normal(0, 1, 20)),
            ],
            axis=1,
        )
        tables.append(table.astype(np.float32))
    return tables


def told(before: list[Table], after: list[Table], clock: Clock | None = None) -> tuple[Drift, list[float]]:
    drift = Drift([0, 1, 2, 3], reference=len(before), fewest=10, clock=clock or Clock())
    for table in [*before, *after]:
        drift.add(table)
    return drift, drift.indices()


def test_more_of_the_same_is_no_drift(rng: np.random.Generator) -> None:
    _, indices = told(lists(rng, 300), lists(rng, 100))

    assert len(indices) == 4
    assert max(indices) < 0.02


def test_a_shifted_feature_has_drifted(rng: np.random.Generator) -> None:
    _, indices = told(lists(rng, 300), lists(rng, 100, shift=1.0))

    assert [index > 0.25 for index in indices] == [True, True, True, False]


def test_a_feature_that_is_missing_more_often_has_drifted(rng: np.random.Generator) -> None:
    _, indices = told(lists(rng, 300), lists(rng, 100, missing=0.4))

    assert [index > 0.25 for index in indices] == [False, False, False, True]


def test_the_index_is_the_formulas() -> None:
    reference, now = np.array([80, 20, 0]), np.array([40, 60, 0])
    p, q = np.array([80.5, 20.5]) / 101, np.array([40.5, 60.5]) / 101

    assert stability_index(reference, now) == pytest.approx(np.sum((q - p) * np.log(q / p)))
    assert stability_index(reference, reference) == 0


def test_bins_hold_a_tenth_each_and_have_room_for_what_is_lower_and_what_is_missing() -> None:
    bins = Bins.of(np.arange(100, dtype=np.float32))

    counts = bins.count(np.array([-1, *range(100), 1_000, np.nan], np.float32))
    assert counts.tolist() == [1, 10, 10, 10, 10, 10, 10, 10, 10, 10, 11, 1]


def test_a_reference_that_is_missing_altogether_still_tells_when_values_come() -> None:
    bins = Bins.of(np.full(10, np.nan, np.float32))

    assert bins.count(np.array([1, np.nan, np.nan], np.float32)).tolist() == [1, 2]


def test_too_few_lists_say_nothing(rng: np.random.Generator) -> None:
    _, indices = told(lists(rng, 300), lists(rng, 9, shift=5.0))

    assert indices == []


def test_what_is_older_than_an_hour_does_not_count(rng: np.random.Generator) -> None:
    clock = Clock()
    drift, indices = told(lists(rng, 300), lists(rng, 50, shift=2.0), clock)
    assert indices[0] > 0.25

    clock.now = 3_700.0
    assert (drift.window_lists, drift.indices()) == (0, [])
    for table in lists(rng, 50):
        drift.add(table)
    assert max(drift.indices()) < 0.05


def test_memory_does_not_grow_with_rankings(rng: np.random.Generator) -> None:
    clock = Clock()
    drift = Drift([0, 1], reference=20, clock=clock)
    for number, table in enumerate(lists(rng, 2_000)):
        clock.now = number * 60.0
        drift.add(table)

    assert len(drift._slots) == 12
    assert drift._first == []


def test_the_thirty_strongest_features_are_watched_under_their_names() -> None:
    names = [f"f{number}" for number in range(40)]
    watch = DriftWatch(names, names[::-1], 1.0, reference=1)
    watch.close()

    assert watch.features == tuple(names[:9:-1])


def test_tables_are_left_out_and_counted_where_too_many_wait() -> None:
    watch = DriftWatch(["a"], ["a"], 1.0, reference=10**6)
    table = np.zeros((1, 1), np.float32)
    with watch._using:  # so that the thread stands still with its first table
        for _ in range(200):
            watch.offer(table)
    watch.close()

    assert 130 <= watch.dropped <= 136
    assert watch.reference_lists() == 200 - watch.dropped


def test_only_the_share_is_sampled() -> None:
    watch = DriftWatch(["a"], ["a"], 0.1, reference=1)
    watch.close()

    assert 60 < sum(watch.wants(f"request-{number}") for number in range(1_000)) < 140


@pytest.mark.parametrize(("length", "drifted"), [(2, False), (7, True)])
def test_a_server_tells_which_feature_has_drifted(watched: Any, figure: Any, length: int, *, drifted: bool) -> None:
    """Its model's only feature is the length of ids; the first sixty rankings are of lengths 1 to 3."""
    with RankingClient(watched.address, deadline_s=10) as client:

        def ask(count: int, lengths: tuple[int, ...]) -> None:
            for number in range(count):
                ids = [f"{place:0{size}}" for place, size in enumerate(lengths)]
                client.rank("u", ids, request_id=time_ordered_id(time.time_ns() // 1_000 + number))

        ask(60, (1, 2, 3))
        assert math.isnan(figure("recsys_feature_drift", feature="item_clicks"))
        ask(200, (length - 1, length, length + 1))

    end = time.monotonic() + 10
    while figure("recsys_drift_window_lists") < 200:
        assert time.monotonic() < end
    assert figure("recsys_drift_reference_lists") == 60
    assert (figure("recsys_feature_drift", feature="item_clicks") > 0.25) is drifted
    assert figure("recsys_feature_drift", feature="text_logit") == 0  # missing before and after
