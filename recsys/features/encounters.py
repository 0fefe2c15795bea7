"""The user, how and when the user comes, and what the user did with this very item before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled, inlined
from recsys.features.feature import Feature, Question, Sayings, Table, put
from recsys.features.keys import Keys, Slots
from recsys.features.seen import TASTED, Seen
from recsys.features.tables import DAYPARTS, DISLIKED, Ints
from recsys.features.windows import CLICKS, HOUR, VIEWS, WINDOW_NAMES

_SPANS = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
_EVER = WINDOW_NAMES.index("ever")
_FIRST_SPAN = WINDOW_NAMES.index("1h")
_CATEGORY_HOURS = (("1h", "hour", 1), ("24h", "24 hours", 24), ("7d", "7 days", 168))
# Cells that tell at first sight that the user never met an item; a power of two, nearly all empty.
_CELLS = 1_024

FEATURES = (
    Feature(name="user_views", description="How many items the user was shown"),
    Feature(name="user_clicks", description="How many items the user clicked"),
    *(
        Feature(name=f"user_{what}_{window}", description=f"How many items the user {done} in the last {span}")
        for window, span in _SPANS.items()
        for what, done in (("views", "was shown"), ("clicks", "clicked"))
    ),
    Feature(name="user_rate", description="The user's clicks per item shown"),
    Feature(name="user_known", description="Hours since the user was first seen"),
    Feature(name="user_away", description="Hours since the user was last seen"),
    Feature(name="user_click_age", description="Hours since the user's last click"),
    Feature(name="user_usual_time", description="Share of the user's clicks at this time of day"),
    Feature(name="user_variety", description="Distinct categories per recent click"),
    *(
        Feature(
            name=f"user_category_clicks_{name}",
            description=f"The user's clicks on its category in the last {span}",
            relative=True,
        )
        for name, span, _ in _CATEGORY_HOURS
    ),
    Feature(name="seen_before", description="How often the user was shown it lately"),
    Feature(name="clicked_before", description="How often the user clicked it lately"),
    Feature(name="hours_since_seen", description="Hours since the user last saw it"),
    Feature(name="hour_of_day", description="The hour of the day, UTC", counter=False),
    Feature(name="day_of_week", description="The day of the week, UTC, Monday 0", counter=False),
    Feature(name="list_length", description="How many items the list holds", counter=False),
)
# Of these, so many say the same of all candidates of a list.
_OF_USER = 16


@compiled
def fill(seen: Seen, question: Question, says: Sayings, table: Table, first: int) -> None:
    """Write ``FEATURES`` of every candidate, in their order, from column ``first`` on."""
    liked, liked_ts, disliked, disliked_ts = seen.liked_row, seen.liked_ts, seen.disliked_row, seen.disliked_ts
    categories, rows = says.categories, question.row
    user = np.empty((1, _OF_USER), np.float32)
    own, met = np.empty(TASTED, np.int64), np.zeros(_CELLS, np.bool_)
    for number in range(question.ts.size):
        ts = question.ts[number]
        _of_user(seen, question, number, own, categories, user)
        _meet(liked, disliked, number, met, now_met=True)
        length = question.offsets[number + 1] - question.offsets[number]
        for row in range(question.offsets[number], question.offsets[number + 1]):
            for at in range(_OF_USER):
                table[row, first + at] = user[0, at]
            at = _of_category(rows[row], categories, own, liked_ts, ts, number, table, row, first + _OF_USER)
            clicks, views, last = 0, 0, 0
            if rows[row] >= 0 and met[rows[row] & (_CELLS - 1)]:
                clicks, last = _meetings(liked, liked_ts, number, TASTED, rows[row], last)
                views, last = _meetings(disliked, disliked_ts, number, DISLIKED, rows[row], last)
            at = put(table, row, at, clicks + views)
            at = put(table, row, at, clicks)
            at = put(table, row, at, max(ts - last, 0) / HOUR if last > 0 else np.nan)
            at = put(table, row, at, ts // HOUR % 24)
            at = put(table, row, at, (ts // (24 * HOUR) + 3) % 7)
            at = put(table, row, at, length)
        _meet(liked, disliked, number, met, now_met=False)


@inlined
def user_counts(seen: Seen, question: Question, number: int) -> tuple[float, float]:
    """Return how many items a list's user was shown and clicked; of a given history, what it holds."""
    if not question.given[number]:
        return seen.user[number, _EVER, VIEWS], seen.user[number, _EVER, CLICKS]
    views, clicks = 0.0, 0.0
    for place in range(TASTED):
        clicks += seen.liked_action[number, place] > 0
    for place in range(DISLIKED):
        views += seen.disliked_action[number, place] > 0
    return views + clicks, clicks


@inlined
def user_rate(seen: Seen, question: Question, number: int) -> float:
    """Return a list's user's clicks per item shown, drawn towards everybody's."""
    views, clicks = user_counts(seen, question, number)
    if np.isnan(views):
        views, clicks = 0.0, 0.0
    return float((clicks + 5 * seen.prior[number]) / (views + 5))


@inlined
def _of_user(seen: Seen, question: Question, number: int, own: Keys, categories: Keys, user: Table) -> None:
    """Write what is the same for all candidates of a list; and the categories of the user's choices, 0 without one."""
    ts, liked = question.ts[number], seen.liked_row
    views, clicks = user_counts(seen, question, number)
    at = put(user, 0, 0, views)
    at = put(user, 0, at, clicks)
    for window in range(_FIRST_SPAN, _EVER):
        for what in (VIEWS, CLICKS):
            at = put(user, 0, at, np.nan if question.given[number] else seen.user[number, window, what])
    at = put(user, 0, at, user_rate(seen, question, number))
    for end in range(2):
        at = put(user, 0, at, _hours_since(seen.user_times[number, end], ts))
    at = put(user, 0, at, _hours_since(seen.liked_ts[number, 0], ts))
    part, total = ts // HOUR % 24 * DAYPARTS // 24, 0.0
    for each in range(DAYPARTS):
        total += seen.dayparts[number, each]
    at = put(user, 0, at, (seen.dayparts[number, part] + 1) / (total + DAYPARTS))
    known, distinct = 0, 0
    for place in range(TASTED):
        row = liked[number, place]
        own[place] = categories[row] if row >= 0 else 0
        if own[place] != 0:
            known += 1
            new = True
            for earlier in range(place):
                new &= own[earlier] != own[place]
            distinct += new
    put(user, 0, at, distinct / known if known > 0 else np.nan)


@inlined
def _hours_since(moment: int, ts: int) -> float:
    return max(ts - moment, 0) / HOUR if moment > 0 else np.nan


@inlined
def _of_category(
    known: int, categories: Keys, own: Keys, times: Ints, ts: int, number: int, table: Table, row: int, at: int
) -> int:
    """Write how often the user clicked the candidate's category, by ``_CATEGORY_HOURS``."""
    category = categories[known] if known >= 0 else 0
    hour, day, week = 0, 0, 0
    for place in range(TASTED):
        age = ts - times[number, place]
        same = (own[place] == category) & (category != 0)
        hour += same & (age < HOUR)
        day += same & (age < 24 * HOUR)
        week += same & (age < 168 * HOUR)
    blank = 0.0 if known >= 0 else np.nan
    at = put(table, row, at, hour + blank)
    at = put(table, row, at, day + blank)
    return put(table, row, at, week + blank)


@inlined
def _meet(liked: Slots, disliked: Slots, number: int, met: npt.NDArray[np.bool_], now_met: bool) -> None:
    """Mark the cells of the items that the user met, or blank them."""
    for place in range(TASTED):
        if liked[number, place] >= 0:
            met[liked[number, place] & (_CELLS - 1)] = now_met
    for place in range(DISLIKED):
        if disliked[number, place] >= 0:
            met[disliked[number, place] & (_CELLS - 1)] = now_met


@inlined
def _meetings(rows: Slots, times: Ints, number: int, length: int, known: int, last: int) -> tuple[int, int]:
    """Count how often an item is among the remembered ones, and when last."""
    count = 0
    for place in range(length):
        if rows[number, place] == known:
            count += 1
            last = max(last, times[number, place])
    return count, last
