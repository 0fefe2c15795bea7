"""A place within the list depends on the list alone, not on its order or its neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.features.relative import write_ranks, write_z_scores

FIGURES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.just(2)),
    elements=st.one_of(st.just(float("nan")), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32)),
)


def written(write: Callable[..., None], values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Write the figures of all columns behind them, and return them."""
    width = values.shape[1]
    table = np.concatenate([values, np.zeros_like(values)], axis=1).astype(np.float32)
    write(table, offsets, np.arange(width), width)
    return table[:, width:]


def ranks(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return written(write_ranks, values, offsets)


def z_scores(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return written(write_z_scores, values, offsets)


def test_ranks_run_from_lowest_to_highest_and_ties_share() -> None:
    values = np.array([[3.0], [1.0], [1.0], [9.0], [np.nan], [5.0]])

    found = ranks(values, np.array([0, 5, 6]))

    assert np.allclose(found[:, 0], [2 / 3, 0.5 / 3, 0.5 / 3, 1.0, np.nan, 0.5], atol=1e-6, equal_nan=True)


@given(values=FIGURES)
@settings(max_examples=80, deadline=None)
def test_a_rank_is_how_many_lie_below_and_half_of_those_that_are_equal(values: np.ndarray) -> None:
    found = ranks(values, np.array([0, len(values)]))

    for column, figures in zip(found.T, values.T, strict=True):
        known = figures[~np.isnan(figures)]
        below, equal = (known < figures[:, None]).sum(axis=1), (known == figures[:, None]).sum(axis=1)
        expected = (below + (equal - 1) / 2) / (len(known) - 1) if len(known) > 1 else np.full(len(figures), 0.5)
        assert np.allclose(column, np.where(np.isnan(figures), np.nan, expected), atol=2e-6, equal_nan=True)


def test_zero_and_minus_zero_are_equal() -> None:
    assert ranks(np.array([[0.0], [-0.0], [-1.0]]), np.array([0, 3]))[:, 0].tolist() == [0.75, 0.75, 0.0]


def test_z_scores_have_mean_nothing_and_spread_one() -> None:
    values = np.array([[3.0], [1.0], [np.nan], [5.0], [7.0], [7.0]])

    found = z_scores(values, np.array([0, 4, 6]))[:, 0]

    assert np.allclose(found, [0.0, -np.sqrt(1.5), np.nan, np.sqrt(1.5), 0.0, 0.0], atol=1e-6, equal_nan=True)


def test_equal_figures_have_no_z_score_however_they_are_rounded() -> None:
    assert z_scores(np.full((7, 1), 0.1), np.array([0, 7])).tolist() == [[0.0]] * 7


@given(values=FIGURES, seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_neither_order_nor_neighbours_change_a_bit(values: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(values))
    neighbours = rng.normal(size=(17, 2)).astype(np.float32)
    offsets = np.array([0, len(values)])

    for figure in (ranks, z_scores):
        alone = figure(values, offsets)
        assert np.array_equal(figure(values[order], offsets), alone[order], equal_nan=True)
        beside = figure(np.concatenate([neighbours, values]), np.array([0, 17, 17 + len(values)]))
        assert np.array_equal(beside[17:], alone, equal_nan=True)


def test_no_lists_give_no_figures() -> None:
    assert ranks(np.empty((0, 2)), np.array([0])).shape == (0, 2)
    assert z_scores(np.empty((0, 2)), np.array([0, 0])).shape == (0, 2)
