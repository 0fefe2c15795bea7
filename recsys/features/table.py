"""The ranker's table: what the text model says, raw and within the list, beside the behavioural features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.features.feature_set import DIGITS
from recsys.features.relative import ranks, z_scores
from recsys.schema import TEXT_OUTPUTS

TEXT_COLUMNS = (
    *TEXT_OUTPUTS,
    *(f"{name}@rank" for name in TEXT_OUTPUTS),
    *(f"{name}@z" for name in TEXT_OUTPUTS),
)


def rounded(figures: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Round to the grid on which the models see every figure."""
    return np.round(figures.astype(np.float64), DIGITS).astype(np.float32)


def column_names(behaviour_names: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of ``assemble``."""
    return (*TEXT_COLUMNS, *behaviour_names)


def assemble(
    text: npt.NDArray[np.float32], behaviour: npt.NDArray[np.float32], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Join text outputs [R, 5] and behavioural features [R, F] into the ranker's table [R, 15 + F].

    Text is NaN where it is missing, and stays so: ranks and z-scores count the rows that have it.
    """
    raw = rounded(text)
    return np.concatenate([raw, rounded(ranks(raw, offsets)), rounded(z_scores(raw, offsets)), behaviour], axis=1)
