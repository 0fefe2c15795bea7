"""How the user's past choices differ from what everybody would have chosen: the ground of all taste features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats
from recsys.features.context import Context
from recsys.features.look import SMOOTHING, TASTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The items that each list's user was last shown, clicked ones first; all arrays have shape [L, CHOICES].

    ``expected`` is the chance that this user clicks an item of this one's general success: the item's click rate,
    scaled so that the user's expected and actual numbers of clicks agree. Taste is clicks against that.
    ``keenness`` is that scale, and ``usual_rate`` the click rate of what the user clicks; shape [L].
    """

    rows: npt.NDArray[np.int32]
    clicked: npt.NDArray[np.bool_]
    expected: Floats
    keenness: Floats
    usual_rate: Floats


def choices(context: Context) -> Choices:
    """Gather the choices with the items' click rates as known at the moment of each list."""
    seen = context.seen
    rows = np.concatenate([seen.liked_row[:, :TASTED], seen.disliked_row], axis=1)
    known = rows >= 0
    clicked = known & (np.arange(rows.shape[1]) < TASTED)
    start = seen.prior[:, None]
    rates = np.where(known, (seen.choice[..., 1] + SMOOTHING * start) / (seen.choice[..., 0] + SMOOTHING), 0.0)
    clicks = clicked.sum(axis=1)
    # Cumulated, not summed: the sum of a row must not depend on the rows beside it.
    keenness = (clicks + 2) / (rates.cumsum(axis=1)[:, -1] + 2)
    usual_rate = ((rates * clicked).cumsum(axis=1)[:, -1] + 0.2) / (clicks + 1)
    return Choices(
        rows=rows,
        clicked=clicked,
        expected=np.minimum(rates * keenness[:, None], 0.95),
        keenness=keenness,
        usual_rate=usual_rate,
    )
