"""How the state learns from one event: constant work, whatever happened before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled, inlined
from recsys.features.keys import NOBODY, Keys, Slots
from recsys.features.remember import HIDE, SKIP, forget, like, place_of_user, remember, remember_list
from recsys.features.tables import DAYPARTS, PLACES, Ints, Tables
from recsys.features.windows import CLICKS, HOUR, RINGS, TOTALS, VIEWS, count, moment, see
from recsys.schema import ACTION_CODE

# What an operation tells.
SHOWN, CLICKED, ACTED = 0, 1, 2
CLICK = ACTION_CODE["click"]
# Expected clicks are counted in millionths, so that their sums are exact.
MICRO = 1_000_000


class Facts(NamedTuple):
    """What the catalog says of its rows, as the state needs it; I rows."""

    category: Slots  # [I], slot of the row's category, -1 without one
    codes: npt.NDArray[np.int32]  # [I, M], attribute values, -1 padded
    blocks: Ints  # [A + 1], where each attribute's values begin
    keys: Keys  # [I]
    row_cells: Keys  # an index of those keys that leads to rows
    row_slots: Slots


class Operations(NamedTuple):
    """Events in the order in which they are learned; N operations on M rows of items."""

    kind: npt.NDArray[np.int8]  # [N]
    ts: Ints  # [N], UTC microseconds
    user: Keys  # [N], NOBODY for an anonymous one
    surface: Slots  # [N], -1 without one
    start: Ints  # [N], the first of the operation's rows
    stop: Ints  # [N]
    shown_ts: Ints  # [N], of a click: when its list was shown
    place: Slots  # [N], of a click: where the item stood
    action: npt.NDArray[np.int8]  # [N], of an interaction: its code
    item: Slots  # [M], slots, -1 where there is no room for the item
    row: Slots  # [M], catalog rows, -1 where the catalog does not know the item


@compiled
def learn(tables: Tables, facts: Facts, told: Operations, first: int, last: int, most_users: int) -> None:
    """Learn the operations from ``first`` up to ``last``; users beyond ``most_users`` take the place of others."""
    now = np.empty((2, RINGS), np.int64)
    for number in range(first, last):
        learn_one(tables, facts, told, number, most_users, now)


@inlined
def learn_one(tables: Tables, facts: Facts, told: Operations, number: int, most_users: int, now: Ints) -> None:
    """Learn one operation; ``now`` [2, RINGS] is room for its moment."""
    moment(told.ts[number], now)
    user = -1
    if told.user[number] != NOBODY:
        user = place_of_user(tables.users, told.user[number], most_users)
    if told.kind[number] == SHOWN:
        _shown(tables, facts, told, number, user, now)
    elif told.kind[number] == CLICKED:
        _clicked(tables, facts, told, number, user, now)
    else:
        _acted(tables, told, number, user)


@inlined
def _shown(tables: Tables, facts: Facts, told: Operations, number: int, user: int, now: Ints) -> None:
    places, items, rows, expected = tables.places, told.item, told.row, tables.items.expected
    words, categories, values = tables.items.counts, tables.categories.counts, tables.values
    category, codes = facts.category, facts.codes
    ts, start = told.ts[number], told.start[number]
    length = told.stop[number] - start
    everywhere = 100 * (tables.overall[0, TOTALS + CLICKS] + 1) / (tables.overall[0, TOTALS + VIEWS] + 10)
    for place in range(length):
        slot = items[start + place]
        if slot >= 0:
            known = min(place, PLACES - 1)
            rate = (places[known, CLICKS] + everywhere) / (places[known, VIEWS] + 100)
            expected[slot] += np.int64(np.rint(rate * MICRO))
    for place in range(length):
        places[min(place, PLACES - 1), VIEWS] += 1
        slot, row = items[start + place], rows[start + place]
        if slot >= 0:
            _count_item(words, categories, values, category, codes, slot, row, ts, now, VIEWS)
    count(tables.overall, 0, ts, now, VIEWS, length)
    if user >= 0:
        count(tables.users.counts, user, ts, now, VIEWS, length)
        remember_list(tables.users, user, tables.items.keys, items, start, told.stop[number], ts)
    if told.surface[number] >= 0:
        count(tables.surfaces.counts, told.surface[number], ts, now, VIEWS, length)


@inlined
def _clicked(tables: Tables, facts: Facts, told: Operations, number: int, user: int, now: Ints) -> None:
    ts, place = told.ts[number], min(told.place[number], PLACES - 1)
    slot, row = told.item[told.start[number]], told.row[told.start[number]]
    tables.places[place, CLICKS] += 1
    if slot >= 0:
        words, categories, values = tables.items.counts, tables.categories.counts, tables.values
        _count_item(words, categories, values, facts.category, facts.codes, slot, row, ts, now, CLICKS)
    count(tables.overall, 0, ts, now, CLICKS, 1)
    if told.surface[number] >= 0:
        count(tables.surfaces.counts, told.surface[number], ts, now, CLICKS, 1)
    if user >= 0:
        users = tables.users
        count(users.counts, user, ts, now, CLICKS, 1)
        users.dayparts[user, ts // HOUR % 24 * DAYPARTS // 24] += 1
    if user >= 0 and slot >= 0:
        users = tables.users
        forget(users, user, tables.items.keys[slot], told.shown_ts[number])
        like(tables, user, slot, ts, CLICK)


@inlined
def _acted(tables: Tables, told: Operations, number: int, user: int) -> None:
    ts, slot, action = told.ts[number], told.item[told.start[number]], told.action[number]
    see(tables.overall, 0, ts)
    if slot >= 0:
        tables.items.actions[slot, action] += 1
    if user >= 0:
        see(tables.users.counts, user, ts)
    if user >= 0 and slot >= 0:
        users = tables.users
        if action in (SKIP, HIDE):
            key = tables.items.keys[slot]
            remember(users.disliked_items, users.disliked_ts, users.disliked_actions, user, key, ts, action)
        else:
            like(tables, user, slot, ts, action)


@inlined
def _count_item(
    words: Ints,
    categories: Ints,
    values: Ints,
    category: Slots,
    codes: npt.NDArray[np.int32],
    slot: int,
    row: int,
    ts: int,
    now: Ints,
    what: int,
) -> None:
    """Count one event of an item, of its category and of its attribute values."""
    count(words, slot, ts, now, what, 1)
    if row >= 0:
        if category[row] >= 0:
            count(categories, category[row], ts, now, what, 1)
        for place in range(codes.shape[1]):
            code = codes[row, place]
            if code >= 0:
                values[code, what] += 1
