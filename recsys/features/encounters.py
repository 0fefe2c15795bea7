"""The user, and what the user did with this very item before."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats
from recsys.features.context import HOUR, Context, prior
from recsys.features.feature import Feature
from recsys.features.histories import Past, disliked, liked
from recsys.features.log import Ints


def user_counts(context: Context) -> Ints:
    """Return how many items each list's user was shown and clicked; of a given history, what it holds; shape [L, 2]."""
    counts = context.world.logs.users.before(context.users, context.ticks)
    given = [index for index, history in enumerate(context.lists.histories) if history is not None]
    if given:
        clicks = (context.get(liked).actions[given] > 0).sum(axis=1)
        counts[given, 0] = clicks + (context.get(disliked).actions[given] > 0).sum(axis=1)
        counts[given, 1] = clicks
    return counts


def user_rate(context: Context) -> Floats:
    """Return each list's user's clicks per item shown, drawn towards everybody's; shape [L]."""
    views, clicks = context.get(user_counts).T
    rate: Floats = (clicks + 5 * context.get(prior)) / (views + 5)
    return rate


def _matches(past: Past, context: Context) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = past.rows[context.list_of_row] == context.rows[:, None]
    return found & (context.rows[:, None] >= 0)


def clicked_before(context: Context) -> npt.NDArray[np.bool_]:
    """Mark which of the user's last clicks were on the row's item; shape [R, LIKED]."""
    return _matches(context.get(liked), context)


def skipped_before(context: Context) -> npt.NDArray[np.bool_]:
    """Mark which of the items last shown in vain were the row's item; shape [R, DISLIKED]."""
    return _matches(context.get(disliked), context)


def _user(column: int, context: Context) -> Floats:
    return context.per_row(context.get(user_counts)[:, column]).astype(np.float64)


def _user_rate(context: Context) -> Floats:
    return context.per_row(context.get(user_rate))


def _clicks(context: Context) -> Floats:
    return np.asarray(context.get(clicked_before).sum(axis=1), np.float64)


def _views(context: Context) -> Floats:
    return np.asarray(_clicks(context) + context.get(skipped_before).sum(axis=1), np.float64)


def _hours(context: Context) -> Floats:
    marks = ((context.get(clicked_before), context.get(liked)), (context.get(skipped_before), context.get(disliked)))
    last = np.zeros(context.rows.size, np.int64)
    for mark, past in marks:
        if mark.any():
            last = np.maximum(last, np.where(mark, past.ts[context.list_of_row], 0).max(axis=1))
    return np.where(last > 0, np.maximum(context.per_row(context.lists.ts) - last, 0) / HOUR, np.nan)


def _hour(context: Context) -> Floats:
    return context.per_row(context.lists.ts // HOUR % 24).astype(np.float64)


def _length(context: Context) -> Floats:
    return context.per_row(context.lists.lengths).astype(np.float64)


FEATURES = (
    Feature(name="user_views", description="How many items the user was shown", compute=partial(_user, 0)),
    Feature(name="user_clicks", description="How many items the user clicked", compute=partial(_user, 1)),
    Feature(name="user_rate", description="The user's clicks per item shown", compute=_user_rate),
    Feature(name="seen_before", description="How often the user was shown it lately", compute=_views),
    Feature(name="clicked_before", description="How often the user clicked it lately", compute=_clicks),
    Feature(name="hours_since_seen", description="Hours since the user last saw it", compute=_hours),
    Feature(name="hour_of_day", description="The hour of the day, UTC", compute=_hour, counter=False),
    Feature(name="list_length", description="How many items the list holds", compute=_length, counter=False),
)
