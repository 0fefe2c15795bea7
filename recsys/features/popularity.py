"""How often an item was shown and clicked, by anybody."""

from __future__ import annotations

from functools import partial

import numpy as np

from recsys.features.attributes import Floats
from recsys.features.build import MICRO
from recsys.features.context import HOUR, Context, prior
from recsys.features.feature import Feature
from recsys.features.log import Ints

DAY = 24.0
WEEK = 7 * DAY
# How many views of average success every item starts with.
SMOOTHING = 20


def all_time(context: Context) -> Ints:
    """Return each row's views, clicks and expected micro-clicks; shape [R, 3]."""
    return context.world.logs.items.before(context.items, context.per_row(context.ticks))


def last_day(context: Context) -> Ints:
    """Return the same over 24 hours."""
    return _window(context, DAY)


def last_week(context: Context) -> Ints:
    """Return the same over 7 days."""
    return _window(context, WEEK)


def _window(context: Context, hours: float) -> Ints:
    since = context.per_row(context.since(hours))
    return context.world.logs.items.before(context.items, context.per_row(context.ticks), since)


WINDOWS = (("", "ever", all_time), ("_1d", "in the last 24 hours", last_day), ("_7d", "in the last 7 days", last_week))


def smoothed_rate(context: Context, counts: Ints) -> Floats:
    """Return clicks per view, drawn towards the rate of everything where views are few; shape [R]."""
    start = context.per_row(context.get(prior))
    rate: Floats = (counts[:, 1] + SMOOTHING * start) / (counts[:, 0] + SMOOTHING)
    return rate


def _count(window: int, column: int, context: Context) -> Floats:
    return context.where_known(context.get(WINDOWS[window][2])[:, column])


def _rate(window: int, context: Context) -> Floats:
    return context.where_known(smoothed_rate(context, context.get(WINDOWS[window][2])))


def _corrected_rate(context: Context) -> Floats:
    counts, start = context.get(all_time), context.per_row(context.get(prior))
    lift = (counts[:, 1] + SMOOTHING * start) / (counts[:, 2] / MICRO + SMOOTHING * start)
    return context.where_known(lift * start)


def _age(context: Context) -> Floats:
    published = context.world.numbers.raw[context.rows, 0]
    age: Floats = context.per_row(context.lists.ts) / HOUR - published
    return age


def _counter_age(context: Context) -> Floats:
    newest = context.world.logs.items.newest(context.items, context.per_row(context.ticks))
    axis = context.world.logs.axis
    shown = axis[newest] if axis.size else np.zeros_like(newest)
    return np.where(newest >= 0, (context.per_row(context.lists.ts) - shown) / HOUR, np.nan)


FEATURES = (
    *(
        Feature(name=f"item_{what}{tail}", description=f"How often it was {done} {when}", compute=partial(_count, w, c))
        for w, (tail, when, _) in enumerate(WINDOWS)
        for c, (what, done) in enumerate((("views", "shown"), ("clicks", "clicked")))
    ),
    Feature(name="item_rate", description="Clicks per view", compute=partial(_rate, 0), relative=True),
    Feature(name="item_rate_7d", description="Clicks per view in the last 7 days", compute=partial(_rate, 2)),
    Feature(
        name="item_corrected_rate",
        description="Clicks per view, allowing for the positions where it was shown",
        compute=_corrected_rate,
        relative=True,
    ),
    Feature(name="counter_age", description="Hours since it was last shown", compute=_counter_age),
    Feature(name="item_age", description="Hours since it was published", compute=_age, counter=False),
)
