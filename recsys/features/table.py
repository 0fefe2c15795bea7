"""The ranker's table: what the text model says, raw and within the list, beside the behavioural features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.features.feature import Table, put
from recsys.features.relative import write_ranks, write_z_scores
from recsys.features.tables import Ints
from recsys.schema import TEXT_OUTPUTS

# The item's click rate, drawn towards what its text promises this user where it was shown little or never.
TEXT_PRIOR = "text_prior_rate"
# How many views the promise of a text weighs.
PRIOR_VIEWS = 20

TEXT_COLUMNS = (
    *TEXT_OUTPUTS,
    TEXT_PRIOR,
    *(f"{name}@rank" for name in TEXT_OUTPUTS),
    *(f"{name}@z" for name in (*TEXT_OUTPUTS, TEXT_PRIOR)),
)
_OUTPUTS, _PRIOR = np.arange(len(TEXT_OUTPUTS)), len(TEXT_OUTPUTS)
_RELATIVE = np.arange(_PRIOR + 1)
_RANKS = _PRIOR + 1
_SCORES = _RANKS + len(TEXT_OUTPUTS)


def column_names(behaviour_names: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of ``assemble``."""
    return (*TEXT_COLUMNS, *behaviour_names)


def assemble(
    text: npt.NDArray[np.float32],
    behaviour: npt.NDArray[np.float32],
    offsets: npt.NDArray[np.int64],
    behaviour_names: Sequence[str],
) -> npt.NDArray[np.float32]:
    """Join text outputs [R, 5] and behavioural features [R, F] into the ranker's table [R, 17 + F].

    Text is NaN where it is missing, and stays so: ranks and z-scores count the rows that have it. The text prior alone
    stands on both: without counters it is the text's promise, without a text the item's plain rate.
    """
    views, clicks, rate = (behaviour_names.index(name) for name in ("item_views", "item_clicks", "item_rate"))
    table = np.empty((len(text), len(TEXT_COLUMNS) + behaviour.shape[1]), np.float32)
    table[:, len(TEXT_COLUMNS) :] = behaviour
    _join(text, behaviour, offsets, views, clicks, rate, table)
    return table


@compiled
def _join(text: Table, behaviour: Table, offsets: Ints, views: int, clicks: int, rate: int, table: Table) -> None:
    outputs = text.shape[1]
    for row in range(text.shape[0]):
        for column in range(outputs):
            put(table, row, column, text[row, column])
        prior = _text_prior_rate(table[row, 0], behaviour[row, views], behaviour[row, clicks], behaviour[row, rate])
        put(table, row, outputs, prior)
    write_ranks(table, offsets, _OUTPUTS, _RANKS)
    write_z_scores(table, offsets, _RELATIVE, _SCORES)


@compiled
def _text_prior_rate(text_logit: float, views: float, clicks: float, rate: float) -> float:
    """Return clicks per view as if the text's promise had been kept ``PRIOR_VIEWS`` times before."""
    promise = 0.5 + 0.5 * np.tanh(np.float64(text_logit) / 2)  # the sigmoid that never overflows
    if np.isnan(promise):
        return float(rate)
    drawn = (np.float64(clicks) + PRIOR_VIEWS * promise) / (np.float64(views) + PRIOR_VIEWS)
    return float(promise if np.isnan(drawn) else drawn)
