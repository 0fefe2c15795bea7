"""How the user's past choices differ from what everybody would have chosen: the ground of all taste features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats
from recsys.features.context import Context, prior
from recsys.features.histories import LIKED, disliked, liked
from recsys.features.log import Ints
from recsys.features.popularity import SMOOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The items that each list's user was last shown, clicked ones first; all arrays have shape [L, LIKED + DISLIKED].

    ``expected`` is the chance that this user clicks an item of this one's general success: the item's click rate,
    scaled so that the user's expected and actual numbers of clicks agree. Taste is
    clicks against that.
    """

    rows: npt.NDArray[np.int32]
    known: npt.NDArray[np.bool_]
    clicked: npt.NDArray[np.bool_]
    rates: Floats
    expected: Floats
    keenness: Floats


def choices(context: Context) -> Choices:
    """Gather the choices with the items' click rates as known before each list."""
    rows = np.concatenate([context.get(liked).rows, context.get(disliked).rows], axis=1)
    known = rows >= 0
    clicked = known & (np.arange(rows.shape[1]) < LIKED)
    counts = context.get(choice_counts)
    start = context.get(prior)[:, None]
    rates = np.where(known, (counts[..., 1] + SMOOTHING * start) / (counts[..., 0] + SMOOTHING), 0.0)
    keenness = (clicked.sum(axis=1) + 2) / (rates.sum(axis=1) + 2)
    expected = np.minimum(rates * keenness[:, None], 0.95)
    return Choices(rows=rows, known=known, clicked=clicked, rates=rates, expected=expected, keenness=keenness)


def choice_counts(context: Context) -> Ints:
    """Return views, clicks and expected clicks of the items of ``choices``, before each list."""
    rows = np.concatenate([context.get(liked).rows, context.get(disliked).rows], axis=1)
    items = context.world.item_of_row[rows]
    return context.world.logs.items.before(items, np.broadcast_to(context.ticks[:, None], items.shape))
