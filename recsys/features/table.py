"""The ranker's table: what the text model says, raw and within the list, beside the behavioural features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.features.feature_set import DIGITS
from recsys.features.relative import ranks, z_scores
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


def rounded(figures: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Round to the grid on which the models see every figure."""
    return np.round(figures.astype(np.float64), DIGITS).astype(np.float32)


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
    raw = rounded(text)
    views, clicks, rate = (
        behaviour[:, behaviour_names.index(name)] for name in ("item_views", "item_clicks", "item_rate")
    )
    prior = rounded(_text_prior_rate(raw[:, 0], views, clicks, rate))[:, None]
    scores = z_scores(np.concatenate([raw, prior], axis=1), offsets)
    return np.concatenate([raw, prior, rounded(ranks(raw, offsets)), rounded(scores), behaviour], axis=1)


def _text_prior_rate(
    text_logit: npt.NDArray[np.float32],
    views: npt.NDArray[np.float32],
    clicks: npt.NDArray[np.float32],
    rate: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return clicks per view as if the text's promise had been kept ``PRIOR_VIEWS`` times before; shape [R]."""
    promise = 0.5 + 0.5 * np.tanh(text_logit.astype(np.float64) / 2)  # the sigmoid that never overflows
    drawn = (clicks + PRIOR_VIEWS * promise) / (views + PRIOR_VIEWS)
    return np.where(np.isnan(promise), rate, np.where(np.isnan(drawn), promise, drawn))
