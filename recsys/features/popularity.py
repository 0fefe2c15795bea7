"""How often an item, its category and the surface were shown and clicked, by anybody."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from recsys.features.attributes import Floats
from recsys.features.context import Context, row_prior
from recsys.features.feature import Feature
from recsys.features.look import SMOOTHING
from recsys.features.windows import HOUR, WINDOW_NAMES
from recsys.schema import ACTION_CODE

_DAY, _WEEK, _MONTH, _EVER = (WINDOW_NAMES.index(name) for name in ("24h", "7d", "30d", "ever"))
_SPANS = ("5 minutes", "hour", "24 hours", "7 days", "30 days")


def _item(window: int, what: int, context: Context) -> Floats:
    return context.where_known(context.seen.item[:, window, what])


def _item_rate(window: int, context: Context) -> Floats:
    return context.where_known(context.rate(context.seen.item[:, window]))


def _corrected_rate(context: Context) -> Floats:
    start = context.get(row_prior)
    clicks, expected = context.seen.item[:, _EVER, 1], context.seen.item_expected
    return context.where_known((clicks + SMOOTHING * start) / (expected + SMOOTHING * start) * start)


def _trend(context: Context) -> Floats:
    now, usual = context.rate(context.seen.item[:, _DAY]), context.rate(context.seen.item[:, _MONTH])
    return context.where_known(np.log(now / usual))


def _category(window: int, what: int, context: Context) -> Floats:
    return context.where_known(context.seen.category[:, window, what])


def _category_rate(window: int, context: Context) -> Floats:
    return context.where_known(context.rate(context.seen.category[:, window]))


def _surface_rate(window: int, context: Context) -> Floats:
    counts = context.seen.surface[:, window]
    return context.per_row((counts[:, 1] + SMOOTHING * context.seen.prior) / (counts[:, 0] + SMOOTHING))


def _orders(context: Context) -> Floats:
    actions = context.seen.item_actions
    return context.where_known(actions[:, ACTION_CODE["cart"]] + actions[:, ACTION_CODE["purchase"]])


def _order_rate(context: Context) -> Floats:
    return context.where_known((_orders(context) + 1) / (context.seen.item[:, _EVER, 1] + SMOOTHING))


def _hours_since(end: int, context: Context) -> Floats:
    times = context.seen.item_times[:, end]
    hours = np.maximum(context.per_row(context.lists.ts) - times, 0) / HOUR
    return context.where_known(np.where(times > 0, hours, np.nan))


def _state_age(context: Context) -> Floats:
    return context.per_row(context.seen.age) / HOUR


def _published_hours(context: Context) -> Floats:
    published = context.facts.raw[context.rows, 0]
    age: Floats = context.per_row(context.lists.ts) / HOUR - published
    return age


def _windows(compute: Callable[[int, int, Context], Floats], stem: str, says: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(
            name=f"{stem}_{what}_{WINDOW_NAMES[window]}",
            description=f"How often {says} was {done} in the last {span}",
            compute=partial(compute, window, column),
        )
        for window, span in enumerate(_SPANS)
        for column, (what, done) in enumerate((("views", "shown"), ("clicks", "clicked")))
    )


FEATURES = (
    *_windows(_item, "item", "it"),
    Feature(name="item_views", description="How often it was shown", compute=partial(_item, _EVER, 0)),
    Feature(name="item_clicks", description="How often it was clicked", compute=partial(_item, _EVER, 1)),
    Feature(name="item_rate", description="Clicks per view", compute=partial(_item_rate, _EVER), relative=True),
    Feature(
        name="item_rate_24h", description="Clicks per view in the last 24 hours", compute=partial(_item_rate, _DAY)
    ),
    Feature(name="item_rate_7d", description="Clicks per view in the last 7 days", compute=partial(_item_rate, _WEEK)),
    Feature(
        name="item_rate_30d", description="Clicks per view in the last 30 days", compute=partial(_item_rate, _MONTH)
    ),
    Feature(
        name="item_corrected_rate",
        description="Clicks per view, allowing for the positions where it was shown",
        compute=_corrected_rate,
        relative=True,
    ),
    Feature(name="item_trend", description="Its click rate of 24 hours over that of 30 days, as log", compute=_trend),
    Feature(name="item_orders", description="How often it was put into a cart or bought", compute=_orders),
    Feature(name="item_order_rate", description="Carts and purchases per click", compute=_order_rate),
    *_windows(_category, "category", "its category"),
    Feature(
        name="category_rate_24h",
        description="Clicks per view of its category in the last 24 hours",
        compute=partial(_category_rate, _DAY),
        relative=True,
    ),
    Feature(
        name="category_rate_30d",
        description="Clicks per view of its category in the last 30 days",
        compute=partial(_category_rate, _MONTH),
        relative=True,
    ),
    Feature(
        name="surface_rate_24h",
        description="Clicks per item shown on this surface in the last 24 hours",
        compute=partial(_surface_rate, _DAY),
    ),
    Feature(
        name="surface_rate", description="Clicks per item shown on this surface", compute=partial(_surface_rate, _EVER)
    ),
    Feature(name="counter_age", description="Hours since it was last shown", compute=partial(_hours_since, 1)),
    Feature(name="item_known", description="Hours since it was first shown", compute=partial(_hours_since, 0)),
    Feature(name="state_age", description="Hours since anything at all was recorded", compute=_state_age),
    Feature(name="item_age", description="Hours since it was published", compute=_published_hours, counter=False),
)
