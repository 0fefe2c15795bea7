"""How the state answers: one list's user and candidates looked up at its moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled, inlined, prefetch
from recsys.features.feature import rate
from recsys.features.keys import NOBODY, Keys, Slots, find
from recsys.features.learn import Facts
from recsys.features.seen import CHOICES, TASTED, Asked, Floats, Seen
from recsys.features.shared_clicks import Recent, no_clicks, note, write_shared
from recsys.features.tables import DAYPARTS, Ints, Items, Tables
from recsys.features.windows import CLICKS, FIRST, LAST, LIMITS, RINGS, STARTS, TOTALS, VIEWS, WINDOWS, add_up, moment

# How many rows ahead memory is asked for what they need: by then it is there, and has not been driven out again.
_AHEAD = 12


@inlined
def look_one(tables: Tables, facts: Facts, asked: Asked, seen: Seen, number: int, now: Ints, recent: Recent) -> None:
    """Answer for one list; the histories of lists with a given one stand in ``seen`` already.

    ``now`` [2, RINGS] and ``recent`` are room for what is known of one list.
    """
    ts = asked.ts[number]
    views, clicks = tables.overall[0, TOTALS + VIEWS], tables.overall[0, TOTALS + CLICKS]
    prior = (clicks + 1) / (views + 10)
    seen.prior[number] = prior
    moment(ts, now)
    newest = tables.overall[0, LAST]
    age = max(ts - newest, 0) if newest > 0 else -1
    seen.age[number] = age if age >= 0 else np.nan
    if number + 1 < asked.ts.size:
        _approach_user(tables, asked.user[number + 1])
    if number == 0:
        for row in range(min(_AHEAD, asked.item.size)):
            _approach_item(tables.items, facts, asked.item[row], asked.row[row], now)
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
    _choices(tables.items, facts, seen, number)
    note(recent, seen.liked_row, facts.keys, seen.choice, number)
    words, expected, actions = tables.items.counts, tables.items.expected, tables.items.actions
    partners, times, categories = tables.items.partners, tables.items.shared, tables.categories.counts
    rows, slots, category_of = asked.row, asked.item, facts.category
    item, item_times, item_expected, item_actions = seen.item, seen.item_times, seen.item_expected, seen.item_actions
    category_seen, popularity, shared = seen.category, seen.popularity, seen.shared
    for row in range(asked.offsets[number], asked.offsets[number + 1]):
        if row + _AHEAD < slots.size:
            _approach_item(tables.items, facts, slots[row + _AHEAD], rows[row + _AHEAD], now)
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
            write_shared(recent, partners, times, slot, clicks, shared, row)
        _popularity(tables.values, facts.codes, facts.blocks, known, views, clicks, prior, popularity, row)


@inlined
def _approach_item(items: Items, facts: Facts, slot: int, known: int, now: Ints) -> None:
    """Ask memory for what a candidate will need, so that it is there when its turn comes."""
    if slot >= 0:
        prefetch(items.counts, slot, 0)
        prefetch(items.counts, slot, 64)
        for ring in range(RINGS):
            prefetch(items.counts, slot, 8 * (STARTS[ring] + now[1, ring]))
        for line in range(4):
            prefetch(items.partners, slot, 64 * line)
        prefetch(items.expected, slot, 0)
        prefetch(items.actions, slot, 0)
    if known >= 0:
        prefetch(facts.codes, known, 0)
        prefetch(facts.category, known, 0)


@inlined
def _approach_user(tables: Tables, key: int) -> None:
    """Ask memory for what is remembered of the user of a list, as for an item."""
    users = tables.users
    user = find(users.cells, users.slots, key) if key != NOBODY else -1
    if user >= 0:
        for line in range(6):
            prefetch(users.liked_items, user, 64 * line)
            prefetch(users.liked_ts, user, 64 * line)
        for line in range(12):
            prefetch(users.disliked_items, user, 64 * line)
            prefetch(users.disliked_ts, user, 64 * line)
        prefetch(users.liked_actions, user, 0)
        prefetch(users.disliked_actions, user, 0)
        prefetch(users.disliked_actions, user, 64)
        prefetch(users.counts, user, 0)


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
def _choices(items: Items, facts: Facts, seen: Seen, number: int) -> None:
    """Look up how successful the user's choices are."""
    liked, disliked, choice, keys = seen.liked_row, seen.disliked_row, seen.choice, facts.keys
    cells, slots, words = items.cells, items.slots, items.counts
    for place in range(CHOICES):
        row = liked[number, place] if place < TASTED else disliked[number, place - TASTED]
        slot = find(cells, slots, keys[row]) if row >= 0 else -1
        if slot >= 0:
            choice[number, place, VIEWS] = words[slot, TOTALS + VIEWS]
            choice[number, place, CLICKS] = words[slot, TOTALS + CLICKS]


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
                    total += rate(views, clicks, prior)
                    held += 1
        popularity[row, attribute] = total / held if held > 0 else np.nan


@compiled
def look_all(tables: Tables, facts: Facts, asked: Asked, seen: Seen) -> None:
    """Answer for all lists by the state as it is."""
    now, recent = np.empty((2, RINGS), np.int64), no_clicks()
    for number in range(asked.ts.size):
        look_one(tables, facts, asked, seen, number, now, recent)
