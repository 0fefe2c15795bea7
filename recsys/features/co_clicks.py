"""Who clicked the user's recent clicks also clicked this."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from recsys.features.attributes import Floats
from recsys.features.context import Context
from recsys.features.feature import Feature
from recsys.features.histories import LIKED, liked
from recsys.features.popularity import all_time
from recsys.features.surprise import choice_counts

RECENT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CoClicks:
    """Per row, over the user's ``RECENT`` last clicks; each array has shape [R]."""

    total: Floats
    closest: Floats
    chance: Floats


def co_clicks(context: Context) -> CoClicks:
    """Count shared clicks, over the geometric mean of both items' clicks, and as a share of the other one's."""
    items = context.world.item_of_row[context.get(liked).rows[:, :RECENT]]
    clicks = context.get(choice_counts)[:, :LIKED, 1][:, :RECENT]
    there = items[context.list_of_row]
    ticks = np.broadcast_to(context.per_row(context.ticks)[:, None], there.shape)
    shared = context.world.logs.pairs.before(np.repeat(context.items[:, None], there.shape[1], axis=1), there, ticks)
    own, other = context.get(all_time)[:, 1:2], clicks[context.list_of_row]
    closeness = shared / np.sqrt((own + 5) * (other + 5))
    return CoClicks(
        total=closeness.cumsum(axis=1)[:, -1],
        closest=closeness.max(axis=1),
        chance=(shared / (other + 10)).cumsum(axis=1)[:, -1],
    )


def _figure(name: str, context: Context) -> Floats:
    figure: Floats = getattr(context.get(co_clicks), name)
    return context.where_known(figure)


_FIGURES = (
    ("co_clicks", "Closeness to the user's recent clicks, by shared clicks", "total"),
    ("co_clicks_closest", "Closeness to the nearest of the user's recent clicks", "closest"),
    ("co_click_chance", "Chance of a click given the user's recent clicks", "chance"),
)

FEATURES = tuple(
    Feature(name=name, description=text, compute=partial(_figure, figure), relative=True)
    for name, text, figure in _FIGURES
)
