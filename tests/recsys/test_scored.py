"""Candidates stand from the highest score to the lowest, equal ones in the order of their ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.scored import best_first

IDS = st.lists(st.text("ab1", min_size=1, max_size=3), unique=True, max_size=12)


@given(ids=IDS, seed=st.integers(0, 99), ties=st.booleans())
def test_the_order_is_that_of_scores_and_then_ids(ids: list[str], seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, len(ids)).astype(np.float64) if ties else rng.standard_normal(len(ids))

    found = [(-scores[place], ids[place]) for place in best_first(ids, scores)]

    assert found == sorted(zip((-scores).tolist(), ids, strict=True))


def test_equal_scores_stand_in_the_order_of_their_ids_wherever_they_came_from() -> None:
    assert best_first(["b", "c", "a"], np.array([1.0, 2.0, 1.0])).tolist() == [1, 2, 0]
    assert best_first([], np.empty(0)).tolist() == []
