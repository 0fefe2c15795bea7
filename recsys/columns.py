"""Columns of arrays, a row each, that are made longer as rows are added."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def longer(column: npt.NDArray[Any], room: int, blank: float = 0) -> npt.NDArray[Any]:
    """Return a copy of a column [n, ...] with blank rows behind it, ``room`` in all.

    Rows of zeros take no memory before they are written to.
    """
    shape = (room, *column.shape[1:])
    made = np.full(shape, blank, column.dtype) if blank else np.zeros(shape, column.dtype)
    made[: len(column)] = column
    return made
