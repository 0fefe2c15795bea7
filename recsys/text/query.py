"""A query is attended like something the user has just clicked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.schema import ACTION_CODE

IntArray = npt.NDArray[np.integer]


def prepend_query(
    rows: IntArray, actions: IntArray, ages: npt.NDArray[np.float32], query_rows: IntArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Put each list's query first in its history, pushing the oldest entry out.

    Args:
        rows: rows of the texts [L, H], newest first, -1 on padding.
        actions: action codes [L, H], 0 on padding.
        ages: hours [L, H].
        query_rows: the row of each list's query text [L], -1 where it has none.
    """
    asked = (query_rows >= 0)[:, None]

    def shifted(part: IntArray, first: IntArray) -> IntArray:
        return np.where(asked, np.concatenate([first[:, None], part[:, :-1]], axis=1), part)

    codes = np.full(len(query_rows), ACTION_CODE["query"])
    fresh = np.zeros(len(query_rows), np.float32)
    return (
        shifted(rows, query_rows).astype(np.int64),
        shifted(actions, codes).astype(np.int8),
        np.where(asked, np.concatenate([fresh[:, None], ages[:, :-1]], axis=1), ages).astype(np.float32),
    )
