"""Who clicked the user's recent clicks also clicked this."""

from __future__ import annotations

from functools import partial

from recsys.features.attributes import Floats
from recsys.features.context import Context
from recsys.features.feature import Feature


def _shared(figure: int, context: Context) -> Floats:
    return context.where_known(context.seen.shared[:, figure])


_FIGURES = (
    ("co_clicks", "Closeness to the user's recent clicks, by shared clicks"),
    ("co_clicks_closest", "Closeness to the nearest of the user's recent clicks"),
    ("co_click_chance", "Chance of a click given the user's recent clicks"),
)

FEATURES = tuple(
    Feature(name=name, description=text, compute=partial(_shared, figure), relative=True)
    for figure, (name, text) in enumerate(_FIGURES)
)
