"""A column is made longer, and what it held stays."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.columns import longer


@pytest.mark.parametrize("blank", [0, -1])
def test_blank_rows_come_behind_those_that_were_there(blank: int) -> None:
    column = np.array([[1, 2], [3, 4]], np.int32)

    made = longer(column, 4, blank)

    assert made.tolist() == [[1, 2], [3, 4], [blank, blank], [blank, blank]]
    assert made.dtype == np.int32


def test_a_column_of_numbers_may_be_blank_by_not_being_known() -> None:
    assert np.isnan(longer(np.array([1.5]), 3, np.nan)).tolist() == [False, True, True]


def test_the_column_is_copied() -> None:
    column = np.array([1, 2])

    longer(column, 3)[0] = 7

    assert column.tolist() == [1, 2]
