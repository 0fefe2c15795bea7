"""The user, how and when the user comes, and what the user did with this very item before."""

from __future__ import annotations

from functools import partial

import numpy as np

from recsys.features.attributes import Floats
from recsys.features.context import Context
from recsys.features.feature import Feature
from recsys.features.look import TASTED
from recsys.features.tables import DAYPARTS, Ints
from recsys.features.taste import meetings, same_category
from recsys.features.windows import HOUR, WINDOW_NAMES

_SPANS = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
_CATEGORY_HOURS = (("1h", "hour", 1), ("24h", "24 hours", 24), ("7d", "7 days", 168))
_EVER = len(WINDOW_NAMES) - 1


def user_counts(context: Context) -> Floats:
    """Return how many items each list's user was shown and clicked; of a given history, what it holds; shape [L, 2]."""
    counts = context.seen.user[:, _EVER].copy()
    for number, history in enumerate(context.lists.histories):
        if history is not None:
            clicks = (context.seen.liked_action[number, :TASTED] > 0).sum()
            counts[number] = clicks + (context.seen.disliked_action[number] > 0).sum(), clicks
    return counts


def user_rate(context: Context) -> Floats:
    """Return each list's user's clicks per item shown, drawn towards everybody's; shape [L]."""
    views, clicks = np.nan_to_num(context.get(user_counts)).T
    rate: Floats = (clicks + 5 * context.seen.prior) / (views + 5)
    return rate


def _clicked(context: Context) -> tuple[Floats, Ints]:
    seen = context.seen
    rows = np.ascontiguousarray(seen.liked_row[:, :TASTED])
    return meetings(context.rows, context.lists.offsets, rows, seen.liked_ts)


def _skipped(context: Context) -> tuple[Floats, Ints]:
    seen = context.seen
    return meetings(context.rows, context.lists.offsets, seen.disliked_row, seen.disliked_ts)


def _user(column: int, context: Context) -> Floats:
    return context.per_row(context.get(user_counts)[:, column])


def _user_window(window: int, column: int, context: Context) -> Floats:
    given = np.array([history is not None for history in context.lists.histories])
    return context.per_row(np.where(given, np.nan, context.seen.user[:, window, column]))


def _user_rate(context: Context) -> Floats:
    return context.per_row(context.get(user_rate))


def _clicks(context: Context) -> Floats:
    return context.get(_clicked)[0]


def _views(context: Context) -> Floats:
    return context.get(_clicked)[0] + context.get(_skipped)[0]


def _hours(context: Context) -> Floats:
    last = np.maximum(context.get(_clicked)[1], context.get(_skipped)[1])
    return np.where(last > 0, np.maximum(context.per_row(context.lists.ts) - last, 0) / HOUR, np.nan)


def _hours_since(end: int, context: Context) -> Floats:
    times = context.seen.user_times[:, end]
    hours = np.maximum(context.lists.ts - times, 0) / HOUR
    return context.per_row(np.where(times > 0, hours, np.nan))


def _hours_since_click(context: Context) -> Floats:
    newest = context.seen.liked_ts[:, 0]
    return context.per_row(np.where(newest > 0, np.maximum(context.lists.ts - newest, 0) / HOUR, np.nan))


def _usual_time(context: Context) -> Floats:
    part = context.lists.ts // HOUR % 24 * DAYPARTS // 24
    counts = context.seen.dayparts
    usual = (counts[np.arange(len(counts)), part] + 1) / (counts.sum(axis=1) + DAYPARTS)
    return context.per_row(usual)


def _variety(context: Context) -> Floats:
    """Count the distinct categories among the last clicks, over their number."""
    rows = context.seen.liked_row[:, :TASTED]
    categories = np.sort(np.where(rows >= 0, context.facts.categories[rows], 0), axis=1)
    distinct = (np.diff(categories, axis=1) != 0).sum(axis=1) + (categories[:, 0] != 0)
    known = (categories != 0).sum(axis=1)
    return context.per_row(np.where(known > 0, distinct / np.maximum(known, 1), np.nan))


def _of_category(context: Context) -> Floats:
    """Count the user's clicks on the candidate's category, by ``_CATEGORY_HOURS``; shape [3, R]."""
    rows = np.ascontiguousarray(context.seen.liked_row[:, :TASTED])
    since = context.lists.ts - (np.array([hours for *_, hours in _CATEGORY_HOURS]) * HOUR)[:, None]
    return same_category(
        context.rows, context.lists.offsets, rows, context.seen.liked_ts, since, context.facts.categories
    )


def _category_clicks(window: int, context: Context) -> Floats:
    return context.where_known(context.get(_of_category)[window])


def _hour(context: Context) -> Floats:
    return context.per_row((context.lists.ts // HOUR % 24).astype(np.float64))


def _weekday(context: Context) -> Floats:
    return context.per_row(((context.lists.ts // (24 * HOUR) + 3) % 7).astype(np.float64))


def _length(context: Context) -> Floats:
    return context.per_row(context.lists.lengths.astype(np.float64))


FEATURES = (
    Feature(name="user_views", description="How many items the user was shown", compute=partial(_user, 0)),
    Feature(name="user_clicks", description="How many items the user clicked", compute=partial(_user, 1)),
    *(
        Feature(
            name=f"user_{what}_{window}",
            description=f"How many items the user {done} in the last {span}",
            compute=partial(_user_window, WINDOW_NAMES.index(window), column),
        )
        for window, span in _SPANS.items()
        for column, (what, done) in enumerate((("views", "was shown"), ("clicks", "clicked")))
    ),
    Feature(name="user_rate", description="The user's clicks per item shown", compute=_user_rate),
    Feature(name="user_known", description="Hours since the user was first seen", compute=partial(_hours_since, 0)),
    Feature(name="user_away", description="Hours since the user was last seen", compute=partial(_hours_since, 1)),
    Feature(name="user_click_age", description="Hours since the user's last click", compute=_hours_since_click),
    Feature(name="user_usual_time", description="Share of the user's clicks at this time of day", compute=_usual_time),
    Feature(name="user_variety", description="Distinct categories per recent click", compute=_variety),
    *(
        Feature(
            name=f"user_category_clicks_{name}",
            description=f"The user's clicks on its category in the last {span}",
            compute=partial(_category_clicks, window),
            relative=True,
        )
        for window, (name, span, _) in enumerate(_CATEGORY_HOURS)
    ),
    Feature(name="seen_before", description="How often the user was shown it lately", compute=_views),
    Feature(name="clicked_before", description="How often the user clicked it lately", compute=_clicks),
    Feature(name="hours_since_seen", description="Hours since the user last saw it", compute=_hours),
    Feature(name="hour_of_day", description="The hour of the day, UTC", compute=_hour, counter=False),
    Feature(name="day_of_week", description="The day of the week, UTC, Monday 0", compute=_weekday, counter=False),
    Feature(name="list_length", description="How many items the list holds", compute=_length, counter=False),
)
