"""A query stands first in the history, and only where there is one."""

from __future__ import annotations

import numpy as np

from recsys.schema import ACTION_CODE
from recsys.text.query import prepend_query

CLICK, QUERY = ACTION_CODE["click"], ACTION_CODE["query"]


def test_a_query_comes_first_and_pushes_the_oldest_entry_out() -> None:
    rows, actions, ages = prepend_query(
        np.array([[5, 6, 7]]),
        np.array([[CLICK, CLICK, CLICK]], np.int8),
        np.array([[1.0, 2.0, 3.0]], np.float32),
        np.array([42]),
    )

    assert rows.tolist() == [[42, 5, 6]]
    assert actions.tolist() == [[QUERY, CLICK, CLICK]]
    assert ages.tolist() == [[0.0, 1.0, 2.0]]


def test_a_list_without_a_query_keeps_its_history_beside_one_that_has_one() -> None:
    rows, actions, _ = prepend_query(
        np.array([[5, 6], [5, 6]]),
        np.array([[CLICK, CLICK], [CLICK, CLICK]], np.int8),
        np.zeros((2, 2), np.float32),
        np.array([42, -1]),
    )

    assert rows.tolist() == [[42, 5], [5, 6]]
    assert actions.tolist() == [[QUERY, CLICK], [CLICK, CLICK]]
