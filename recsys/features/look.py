"""What the state knows at one moment of users and candidates: everything that features are computed from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.features.compiled import compiled, inlined
from recsys.features.keys import NOBODY, Keys, Slots, find
from recsys.features.learn import Facts
from recsys.features.tables import DAYPARTS, DISLIKED, LIKED, PARTNERS, Ints, Items, Tables
from recsys.features.windows import CLICKS, FIRST, LAST, LIMITS, RINGS, TOTALS, VIEWS, WINDOWS, add_up, moment

Floats = npt.NDArray[np.float64]
Partners = npt.NDArray[np.uint32]

# How many of the remembered welcome actions the tastes rest on, and how many of those count for shared clicks.
TASTED = 32
RECENT = 20
CHOICES = TASTED + DISLIKED
# Cells of the small index of recent clicks: a power of two, mostly empty.
_CELLS = 128
# What an item has shared clicks for so few clicks is mostly chance.
CO_SMOOTHING, CHANCE_SMOOTHING = 5, 10
# How many views of average success every item and value starts with.
SMOOTHING = 20


class Asked(NamedTuple):
    """Lists as the state is asked for them; L lists of R rows."""

    ts: Ints  # [L], UTC microseconds
    user: Keys  # [L], NOBODY for an anonymous one
    surface: Slots  # [L], slots
    given: npt.NDArray[np.bool_]  # [L], a history came with the list and replaces what is known of the user
    offsets: Ints  # [L + 1]
    row: Slots  # [R], catalog rows, -1 for an item that the catalog does not know
    item: Slots  # [R], slots of the items


class Seen(NamedTuple):
    """What the state answers. A counter that is older than its window is NaN; see ``windows.LIMITS``."""

    prior: Floats  # [L], clicks per view of everything
    age: Floats  # [L], microseconds since anything was learned; NaN before
    user: Floats  # [L, WINDOWS, 2], views and clicks
    user_times: Ints  # [L, 2], first and last seen; 0 when never
    dayparts: Floats  # [L, DAYPARTS]
    surface: Floats  # [L, WINDOWS, 2]
    liked_row: Slots  # [L, LIKED], catalog rows, newest first; -1 unknown or padded
    liked_ts: Ints
    liked_action: npt.NDArray[np.int8]  # 0 padded
    disliked_row: Slots  # [L, DISLIKED]
    disliked_ts: Ints
    disliked_action: npt.NDArray[np.int8]
    choice: Floats  # [L, CHOICES, 2], views and clicks ever of the first TASTED liked and all disliked items
    item: Floats  # [R, WINDOWS, 2]
    item_times: Ints  # [R, 2]
    item_expected: Floats  # [R], clicks
    item_actions: Floats  # [R, ACTIONS]
    category: Floats  # [R, WINDOWS, 2]
    popularity: Floats  # [R, A], click rate of other items that share a value of the attribute; NaN without a value
    shared: Floats  # [R, 3], over the user's recent clicks: sum and maximum of closeness, sum of chances


def blank(asked: Asked, *, attributes: int, actions: int) -> Seen:
    """Make room for the answer."""
    lists, rows = asked.ts.size, asked.row.size
    return Seen(
        prior=np.zeros(lists),
        age=np.zeros(lists),
        user=np.zeros((lists, WINDOWS, 2)),
        user_times=np.zeros((lists, 2), np.int64),
        dayparts=np.zeros((lists, DAYPARTS)),
        surface=np.zeros((lists, WINDOWS, 2)),
        liked_row=np.full((lists, LIKED), -1, np.int32),
        liked_ts=np.zeros((lists, LIKED), np.int64),
        liked_action=np.zeros((lists, LIKED), np.int8),
        disliked_row=np.full((lists, DISLIKED), -1, np.int32),
        disliked_ts=np.zeros((lists, DISLIKED), np.int64),
        disliked_action=np.zeros((lists, DISLIKED), np.int8),
        choice=np.zeros((lists, CHOICES, 2)),
        item=np.zeros((rows, WINDOWS, 2)),
        item_times=np.zeros((rows, 2), np.int64),
        item_expected=np.zeros(rows),
        item_actions=np.zeros((rows, actions)),
        category=np.zeros((rows, WINDOWS, 2)),
        popularity=np.zeros((rows, attributes)),
        shared=np.zeros((rows, 3)),
    )


@compiled
def look(tables: Tables, facts: Facts, asked: Asked, seen: Seen, number: int) -> None:
    """Answer for one list; the histories of lists with a given one stand in ``seen`` already."""
    ts = asked.ts[number]
    views, clicks = tables.overall[0, TOTALS + VIEWS], tables.overall[0, TOTALS + CLICKS]
    seen.prior[number] = (clicks + 1) / (views + 10)
    now = np.empty((2, RINGS), np.int64)
    moment(ts, now)
    newest = tables.overall[0, LAST]
    age = max(ts - newest, 0) if newest > 0 else -1
    seen.age[number] = age if age >= 0 else np.nan
    user = -1
    if asked.user[number] != NOBODY and not asked.given[number]:
        user = find(tables.users.cells, tables.users.slots, asked.user[number])
    _write(tables.users.counts, user, now, age, seen.user, number)
    _write_times(tables.users.counts, user, seen.user_times, number)
    if user >= 0:
        for part in range(DAYPARTS):
            seen.dayparts[number, part] = tables.users.dayparts[user, part]
        _recall(tables, facts, user, seen, number)
    _write(tables.surfaces.counts, asked.surface[number], now, age, seen.surface, number)
    recent = np.zeros(_CELLS, np.int64)
    weight = np.zeros((_CELLS, 3))
    _choices(tables.items, facts, seen, number, recent, weight)
    # Arrays are taken out of their tables before the loop: each look into a tuple of arrays counts references.
    words, expected, actions = tables.items.counts, tables.items.expected, tables.items.actions
    partners, times, categories = tables.items.partners, tables.items.shared, tables.categories.counts
    prior = seen.prior[number]
    rows, slots, category_of = asked.row, asked.item, facts.category
    item, item_times, item_expected, item_actions = seen.item, seen.item_times, seen.item_expected, seen.item_actions
    category_seen, popularity, shared = seen.category, seen.popularity, seen.shared
    for row in range(asked.offsets[number], asked.offsets[number + 1]):
        slot, known = slots[row], rows[row]
        _write(words, slot, now, age, item, row)
        _write(categories, category_of[known] if known >= 0 else -1, now, age, category_seen, row)
        views, clicks = 0, 0
        if slot >= 0:
            views, clicks = words[slot, TOTALS + VIEWS], words[slot, TOTALS + CLICKS]
            item_times[row, 0], item_times[row, 1] = words[slot, FIRST], words[slot, LAST]
            item_expected[row] = expected[slot] / 1e6
            for action in range(item_actions.shape[1]):
                item_actions[row, action] = actions[slot, action]
            _shared(partners, times, slot, clicks, recent, weight, shared, row)
        _popularity(tables.values, facts.codes, facts.blocks, known, views, clicks, prior, popularity, row)


@inlined
def _write(counts: Ints, slot: int, now: Ints, age: int, sums: Floats, row: int) -> None:
    """Write the windows of one key: zeros for one that never was, NaN for those that are older than their limit."""
    if slot >= 0:
        add_up(counts, slot, now, sums, row)
    for window in range(WINDOWS):
        if age < 0 or age > LIMITS[window]:
            sums[row, window, VIEWS] = np.nan
            sums[row, window, CLICKS] = np.nan


@inlined
def _write_times(counts: Ints, slot: int, times: Ints, row: int) -> None:
    if slot >= 0:
        times[row, 0], times[row, 1] = counts[slot, FIRST], counts[slot, LAST]


@inlined
def _recall(tables: Tables, facts: Facts, user: int, seen: Seen, number: int) -> None:
    users = tables.users
    cells, slots = facts.row_cells, facts.row_slots
    _recall_part(users.liked_items, users.liked_ts, users.liked_actions, cells, slots, user,
                 seen.liked_row, seen.liked_ts, seen.liked_action, number)  # fmt: skip
    _recall_part(users.disliked_items, users.disliked_ts, users.disliked_actions, cells, slots, user,
                 seen.disliked_row, seen.disliked_ts, seen.disliked_action, number)  # fmt: skip


@inlined
def _recall_part(
    items: Keys,
    times: Ints,
    actions: npt.NDArray[np.int8],
    cells: Keys,
    slots: Slots,
    user: int,
    seen_row: Slots,
    seen_ts: Ints,
    seen_action: npt.NDArray[np.int8],
    number: int,
) -> None:
    for place in range(actions.shape[1]):
        if actions[user, place] == 0:
            break
        seen_row[number, place] = find(cells, slots, items[user, place])
        seen_ts[number, place] = times[user, place]
        seen_action[number, place] = actions[user, place]


@inlined
def _choices(items: Items, facts: Facts, seen: Seen, number: int, recent: Keys, weight: Floats) -> None:
    """Look up how successful the user's choices are; and note the recent clicks by their key, for ``_shared``."""
    liked, disliked, choice, keys = seen.liked_row, seen.disliked_row, seen.choice, facts.keys
    cells, slots, words = items.cells, items.slots, items.counts
    for place in range(CHOICES):
        row = liked[number, place] if place < TASTED else disliked[number, place - TASTED]
        if row < 0:
            continue
        slot = find(cells, slots, keys[row])
        if slot >= 0:
            choice[number, place, VIEWS] = words[slot, TOTALS + VIEWS]
            choice[number, place, CLICKS] = words[slot, TOTALS + CLICKS]
        if place < RECENT:
            clicks = choice[number, place, CLICKS]
            low = keys[row] & 0xFFFFFFFF
            cell = low & (_CELLS - 1)
            while recent[cell] != 0 and recent[cell] != low + 1:
                cell = (cell + 1) & (_CELLS - 1)
            recent[cell] = low + 1
            weight[cell, 0] += 1 / np.sqrt(clicks + CO_SMOOTHING)
            weight[cell, 1] = 1 / np.sqrt(clicks + CO_SMOOTHING)
            weight[cell, 2] += 1 / (clicks + CHANCE_SMOOTHING)


@inlined
def _shared(
    partners: Partners,
    counts: Partners,
    slot: int,
    clicks: int,
    recent: Keys,
    weight: Floats,
    shared: Floats,
    row: int,
) -> None:
    """Sum over the user's recent clicks how many clicks each shares with the candidate."""
    own = 1 / np.sqrt(clicks + CO_SMOOTHING)
    for place in range(PARTNERS):
        times = counts[slot, place]
        if times == 0:
            return
        low = np.int64(partners[slot, place])
        cell = low & (_CELLS - 1)
        while recent[cell] != 0:
            if recent[cell] == low + 1:
                shared[row, 0] += times * own * weight[cell, 0]
                shared[row, 1] = max(shared[row, 1], times * own * weight[cell, 1])
                shared[row, 2] += times * weight[cell, 2]
                break
            cell = (cell + 1) & (_CELLS - 1)


@inlined
def _popularity(
    values: Ints,
    codes: npt.NDArray[np.int32],
    blocks: Ints,
    known: int,
    own_views: int,
    own_clicks: int,
    prior: float,
    popularity: Floats,
    row: int,
) -> None:
    """Average, over the values of each attribute, the click rate of the other items that hold the value."""
    for attribute in range(popularity.shape[1]):
        total, held = 0.0, 0
        if known >= 0:
            for place in range(blocks[attribute], blocks[attribute + 1]):
                code = codes[known, place]
                if code >= 0:
                    # The item may have had another value when it was shown, so its own counts may be the larger ones.
                    views = max(values[code, VIEWS] - own_views, 0)
                    clicks = max(values[code, CLICKS] - own_clicks, 0)
                    total += (clicks + SMOOTHING * prior) / (views + SMOOTHING)
                    held += 1
        popularity[row, attribute] = total / held if held > 0 else np.nan


@compiled
def look_all(tables: Tables, facts: Facts, asked: Asked, seen: Seen) -> None:
    """Answer for all lists by the state as it is."""
    for number in range(asked.ts.size):
        look(tables, facts, asked, seen, number)
