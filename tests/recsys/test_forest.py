"""The forest gives LightGBM's own scores, to the bit, whatever the figures and however many rows."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.forest import Forest, NotForThis, _rounded_down
from recsys.ranker import Ranker

COLUMNS = 6
# Figures that stand on thresholds, beyond every one, missing, and between.
FIGURES = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, 1.0, float("nan"), float("inf"), float("-inf"), 1e-38, 3e38, -3e38]),
    st.integers(-4, 4).map(lambda step: step / 4),
    st.floats(-3, 3, width=32),
)


def grown(trees: int = 40, **parameters: Any) -> lgb.Booster:
    """Grow some trees on figures with gaps; one column has none, one has nothing else than gaps and ones."""
    rng = np.random.default_rng(3)
    table = np.round(rng.standard_normal((3_000, COLUMNS)) * 4) / 4
    table[rng.random(table.shape) < 0.2] = np.nan
    table[:, 4] = np.where(np.isnan(table[:, 4]), np.nan, 1.0)
    table[:, 5] = np.nan_to_num(table[:, 5])
    target = (
        np.nan_to_num(table[:, 0]) * np.nan_to_num(table[:, 1]) + np.isnan(table[:, 2]) + rng.standard_normal(3_000)
    )
    data = lgb.Dataset(table.astype(np.float32), target, feature_name=[f"c{place}" for place in range(COLUMNS)])
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1, "seed": 0, "min_data_in_leaf": 5}
    return lgb.train({**settings, **parameters}, data, trees)


BOOSTERS = {
    "full words": grown(num_leaves=64),
    "few leaves": grown(num_leaves=3),
    "gaps count as zero": grown(num_leaves=31, use_missing=False),
    "trees of one leaf": grown(num_leaves=31, min_gain_to_split=60.0),
}


MANY_TREES = grown(150, num_leaves=31)


def same(booster: lgb.Booster, table: np.ndarray) -> bool:
    found = Forest.from_text(booster.model_to_string()).score(table)
    expected = booster.predict(table, raw_score=True, num_threads=1)
    return bool(found.tobytes() == np.asarray(expected, np.float64).tobytes())


@pytest.mark.parametrize("booster", BOOSTERS.values(), ids=BOOSTERS)
@settings(max_examples=60, deadline=None)
@given(table=hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(COLUMNS)), elements=FIGURES))
def test_scores_are_lightgbms_to_the_bit(booster: lgb.Booster, table: np.ndarray) -> None:
    assert same(booster, table)


def test_the_control_a_forest_whose_leaf_is_moved_is_found_out() -> None:
    booster = BOOSTERS["full words"]
    forest = Forest.from_text(booster.model_to_string())
    moved = forest._replace(values=np.nextafter(forest.values, np.inf))
    table = np.zeros((1, COLUMNS), np.float32)

    assert moved.score(table).tolist() != booster.predict(table, raw_score=True).tolist()


@pytest.mark.parametrize("rows", [1, 7, 8, 127, 129, 300])
def test_trees_of_several_groups_and_rows_of_several_blocks_are_lightgbms_to_the_bit(rows: int) -> None:
    table = np.random.default_rng(rows).standard_normal((rows, COLUMNS)).astype(np.float32)
    table[:, 1] = table[0, 1]  # as a user's figures are, beside those of items
    table[::3, 2] = np.nan

    assert same(MANY_TREES, table)


@pytest.mark.parametrize("threshold", [0.1, 1 / 3, 1e300, -1e300, 1e-50, -1e-50, 16_777_217.0, 0.5])
def test_a_float32_exceeds_a_threshold_if_it_exceeds_what_is_kept_of_it(threshold: float) -> None:
    kept = _rounded_down(np.array([threshold]))[0]
    near = np.float32(threshold) if abs(threshold) < 1e38 else np.float32(3e38) * np.sign(threshold)
    figures = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf)), np.float32(0)]

    assert [figure > kept for figure in figures] == [float(figure) > threshold for figure in figures]


def test_rows_of_another_stride_are_rows() -> None:
    table = np.random.default_rng(1).standard_normal((33, 2 * COLUMNS)).astype(np.float32)

    assert same(BOOSTERS["few leaves"], table[:, ::2])


@pytest.mark.parametrize("parameters", [{"num_leaves": 65, "min_data_in_leaf": 1}, {"zero_as_missing": True}])
def test_trees_that_it_cannot_score_are_left_to_lightgbm(parameters: dict[str, Any]) -> None:
    booster = grown(**parameters)
    text = booster.model_to_string()
    with pytest.raises(NotForThis):
        Forest.from_text(text)

    table = np.random.default_rng(1).standard_normal((20, COLUMNS)).astype(np.float32)
    expected = booster.predict(table, raw_score=True)
    assert np.allclose(Ranker.from_text(text.encode()).predict(table), expected, atol=1e-9)
