"""Intervals over users."""

from __future__ import annotations

import numpy as np
import pytest

from training import bootstrap
from training.bootstrap import intervals


def test_the_interval_of_independent_lists_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, (2_000, 1))
    [figure] = intervals(values, np.arange(2_000), draws=1_000, seed=1)
    error = values.std() / 2_000**0.5

    assert figure.value == pytest.approx(values.mean())
    assert figure.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert figure.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert figure.half_width == pytest.approx((figure.high - figure.low) / 2)


def test_lists_of_one_user_are_drawn_together_so_that_copies_add_no_certainty() -> None:
    once = np.random.default_rng(0).normal(size=(300, 1))
    ten_times = np.repeat(once, 10, axis=0)
    [single] = intervals(once, np.arange(300), draws=1_000, seed=1)
    [copied] = intervals(ten_times, np.repeat(np.arange(300), 10), draws=1_000, seed=1)
    [taken_apart] = intervals(ten_times, np.arange(3_000), draws=1_000, seed=1)

    assert copied.half_width == pytest.approx(single.half_width)
    assert taken_apart.half_width < 0.5 * single.half_width


def test_users_may_come_in_any_order_under_any_number() -> None:
    values = np.array([[1.0], [2.0], [5.0], [4.0]])
    there = intervals(values, np.array([7, 3, 7, 3]), draws=200, seed=1)
    sorted_by_user = intervals(values[[1, 3, 0, 2]], np.array([0, 0, 1, 1]), draws=200, seed=1)

    assert there == sorted_by_user
    assert (there[0].low, there[0].high) == (3.0, 3.0)


def test_differences_are_paired_because_all_columns_see_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 5, 500)
    a, b = difficulty + 1.0, difficulty + rng.normal(0, 0.1, 500)
    first, second, difference = intervals(np.stack([a, b, a - b], axis=1), np.arange(500), draws=500, seed=3)

    assert difference.low > 0.9
    assert difference.half_width < 0.05 * min(first.half_width, second.half_width)


def test_drawing_in_small_parts_gives_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 2))
    whole = intervals(values, np.arange(50), draws=100, seed=1)
    monkeypatch.setattr(bootstrap, "_CHUNK", 350)

    in_parts = intervals(values, np.arange(50), draws=100, seed=1)

    assert [one.to_json() for one in in_parts] == [pytest.approx(one.to_json()) for one in whole]


def test_one_user_alone_has_an_interval_of_no_width() -> None:
    [figure] = intervals(np.array([[0.2], [0.4]]), np.array([1, 1]), draws=100, seed=0)

    assert figure.to_json() == pytest.approx({"value": 0.3, "low": 0.3, "high": 0.3})
