"""How often an item, its category and the surface were shown and clicked, by anybody."""

from __future__ import annotations

import numpy as np

from recsys.compiled import compiled
from recsys.features.feature import SMOOTHING, Feature, Question, Sayings, Table, put, rate
from recsys.features.seen import Seen
from recsys.features.windows import CLICKS, HOUR, VIEWS, WINDOW_NAMES
from recsys.schema import ACTION_CODE

_DAY, _WEEK, _MONTH, _EVER = (WINDOW_NAMES.index(name) for name in ("24h", "7d", "30d", "ever"))
_SPANS = ("5 minutes", "hour", "24 hours", "7 days", "30 days")
_CART, _PURCHASE = ACTION_CODE["cart"], ACTION_CODE["purchase"]


def _windows(stem: str, says: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(
            name=f"{stem}_{what}_{WINDOW_NAMES[window]}",
            description=f"How often {says} was {done} in the last {span}",
        )
        for window, span in enumerate(_SPANS)
        for what, done in (("views", "shown"), ("clicks", "clicked"))
    )


FEATURES = (
    *_windows("item", "it"),
    Feature(name="item_views", description="How often it was shown"),
    Feature(name="item_clicks", description="How often it was clicked"),
    Feature(name="item_rate", description="Clicks per view", relative=True),
    Feature(name="item_rate_24h", description="Clicks per view in the last 24 hours"),
    Feature(name="item_rate_7d", description="Clicks per view in the last 7 days"),
    Feature(name="item_rate_30d", description="Clicks per view in the last 30 days"),
    Feature(
        name="item_corrected_rate",
        description="Clicks per view, allowing for the positions where it was shown",
        relative=True,
    ),
    Feature(name="item_trend", description="Its click rate of 24 hours over that of 30 days, as log"),
    Feature(name="item_orders", description="How often it was put into a cart or bought"),
    Feature(name="item_order_rate", description="Carts and purchases per click"),
    *_windows("category", "its category"),
    Feature(
        name="category_rate_24h", description="Clicks per view of its category in the last 24 hours", relative=True
    ),
    Feature(name="category_rate_30d", description="Clicks per view of its category in the last 30 days", relative=True),
    Feature(name="surface_rate_24h", description="Clicks per item shown on this surface in the last 24 hours"),
    Feature(name="surface_rate", description="Clicks per item shown on this surface"),
    Feature(name="counter_age", description="Hours since it was last shown"),
    Feature(name="item_known", description="Hours since it was first shown"),
    Feature(name="state_age", description="Hours since anything at all was recorded"),
    Feature(name="item_age", description="Hours since it was published", counter=False),
)


@compiled
def fill(seen: Seen, question: Question, says: Sayings, table: Table, first: int) -> None:
    """Write ``FEATURES`` of every candidate, in their order, from column ``first`` on; NaN where it is unknown."""
    item, category, surface, times = seen.item, seen.category, seen.surface, seen.item_times
    expected, actions, raw, rows = seen.item_expected, seen.item_actions, says.raw, question.row
    for number in range(question.ts.size):
        ts, prior = question.ts[number], seen.prior[number]
        day, ever = surface[number, _DAY], surface[number, _EVER]
        surface_day, surface_ever = rate(day[VIEWS], day[CLICKS], prior), rate(ever[VIEWS], ever[CLICKS], prior)
        state_age, hours = seen.age[number] / HOUR, ts / HOUR
        for row in range(question.offsets[number], question.offsets[number + 1]):
            # Added to what is known of known items alone.
            blank = 0.0 if rows[row] >= 0 else np.nan
            at = first
            for window in range(_EVER):
                at = put(table, row, at, item[row, window, VIEWS] + blank)
                at = put(table, row, at, item[row, window, CLICKS] + blank)
            views, clicks = item[row, _EVER, VIEWS], item[row, _EVER, CLICKS]
            day_rate = rate(item[row, _DAY, VIEWS], item[row, _DAY, CLICKS], prior)
            month_rate = rate(item[row, _MONTH, VIEWS], item[row, _MONTH, CLICKS], prior)
            orders = actions[row, _CART] + actions[row, _PURCHASE]
            at = put(table, row, at, views + blank)
            at = put(table, row, at, clicks + blank)
            at = put(table, row, at, rate(views, clicks, prior) + blank)
            at = put(table, row, at, day_rate + blank)
            at = put(table, row, at, rate(item[row, _WEEK, VIEWS], item[row, _WEEK, CLICKS], prior) + blank)
            at = put(table, row, at, month_rate + blank)
            start = SMOOTHING * prior
            at = put(table, row, at, (clicks + start) / (expected[row] + start) * prior + blank)
            at = put(table, row, at, np.log(day_rate / month_rate) + blank)
            at = put(table, row, at, orders + blank)
            at = put(table, row, at, (orders + 1) / (clicks + SMOOTHING) + blank)
            for window in range(_EVER):
                at = put(table, row, at, category[row, window, VIEWS] + blank)
                at = put(table, row, at, category[row, window, CLICKS] + blank)
            for window in (_DAY, _MONTH):
                figure = rate(category[row, window, VIEWS], category[row, window, CLICKS], prior)
                at = put(table, row, at, figure + blank)
            at = put(table, row, at, surface_day)
            at = put(table, row, at, surface_ever)
            for end in (1, 0):
                passed = max(ts - times[row, end], 0) / HOUR if times[row, end] > 0 else np.nan
                at = put(table, row, at, passed + blank)
            at = put(table, row, at, state_age)
            at = put(table, row, at, hours - raw[rows[row], 0])
