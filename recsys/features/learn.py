"""How the state learns from one event: constant work, whatever happened before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.features.compiled import compiled, inlined
from recsys.features.keys import NOBODY, Keys, Slots, find, insert, remove
from recsys.features.tables import DAYPARTS, DISLIKED, LIKED, PARTNERS, PLACES, Ints, Tables, Users
from recsys.features.windows import CLICKS, HOUR, LAST, RINGS, TOTALS, VIEWS, count, moment, see
from recsys.schema import ACTION_CODE

# What an operation tells.
SHOWN, CLICKED, ACTED = 0, 1, 2
CLICK, SKIP, HIDE = ACTION_CODE["click"], ACTION_CODE["skip"], ACTION_CODE["hide"]
# Expected clicks are counted in millionths, so that their sums are exact.
MICRO = 1_000_000
# How many of a user's earlier clicks each click is paired with.
PAIRED = 20
# How many users are compared when one has to give way to a new one.
SAMPLED = 16


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
        moment(told.ts[number], now)
        user = -1
        if told.user[number] != NOBODY:
            user = _user(tables.users, told.user[number], most_users)
        if told.kind[number] == SHOWN:
            _shown(tables, facts, told, number, user, now)
        elif told.kind[number] == CLICKED:
            _clicked(tables, facts, told, number, user, now)
        else:
            _acted(tables, told, number, user)


@inlined
def _shown(tables: Tables, facts: Facts, told: Operations, number: int, user: int, now: Ints) -> None:
    # Arrays are taken out of their tables before the loop: each look into a tuple of arrays counts references.
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
        _remember_list(tables, user, told, number)
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
        _forget(users, user, tables.items.keys[slot], told.shown_ts[number])
        _like(tables, user, slot, ts, CLICK)


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
            _remember(users.disliked_items, users.disliked_ts, users.disliked_actions, user, key, ts, action)
        else:
            _like(tables, user, slot, ts, action)


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


@inlined
def _like(tables: Tables, user: int, slot: int, ts: int, action: int) -> None:
    """Remember a welcome action, and pair its item with those that the user liked before."""
    items, times, actions = tables.users.liked_items, tables.users.liked_ts, tables.users.liked_actions
    cells, slots = tables.items.cells, tables.items.slots
    partners, shared = tables.items.partners, tables.items.shared
    key = tables.items.keys[slot]
    for place in range(PAIRED):
        if actions[user, place] == 0:
            break
        earlier = items[user, place]
        if earlier != key:
            _pair(partners, shared, slot, earlier)
            other = find(cells, slots, earlier)
            if other >= 0:
                _pair(partners, shared, other, key)
    _remember(items, times, actions, user, key, ts, action)


@inlined
def _pair(partners: npt.NDArray[np.uint32], shared: npt.NDArray[np.uint32], slot: int, partner: int) -> None:
    """Count a click that two items share; where the table is full, the rarest partner gives way."""
    low = np.uint32(partner & 0xFFFFFFFF)
    rarest = 0
    for place in range(PARTNERS):
        if shared[slot, place] == 0:
            rarest = place
            break
        if partners[slot, place] == low:
            shared[slot, place] += 1
            return
        if shared[slot, place] < shared[slot, rarest]:
            rarest = place
    partners[slot, rarest] = low
    shared[slot, rarest] = 1


@inlined
def _remember(
    items: Keys, times: Ints, actions: npt.NDArray[np.int8], user: int, item: int, ts: int, action: int
) -> None:
    """Put an action where its moment belongs, newest first, before those of the same moment; the oldest falls out."""
    length = items.shape[1]
    place = 0
    while place < length and actions[user, place] != 0 and times[user, place] > ts:
        place += 1
    if place == length:
        return
    for later in range(length - 1, place, -1):
        items[user, later] = items[user, later - 1]
        times[user, later] = times[user, later - 1]
        actions[user, later] = actions[user, later - 1]
    items[user, place], times[user, place], actions[user, place] = item, ts, action


@inlined
def _remember_list(tables: Tables, user: int, told: Operations, number: int) -> None:
    """Remember a list as shown in vain: as ``_remember`` would item by item, but moving the older ones once."""
    users, items, ts, item_keys = tables.users, told.item, told.ts[number], tables.items.keys
    new = 0
    for at in range(told.start[number], told.stop[number]):
        new += items[at] >= 0
    keys, times, actions = users.disliked_items, users.disliked_ts, users.disliked_actions
    place = 0
    while place < DISLIKED and actions[user, place] != 0 and times[user, place] > ts:
        place += 1
    new = min(new, DISLIKED - place)
    for later in range(DISLIKED - 1, place + new - 1, -1):
        keys[user, later] = keys[user, later - new]
        times[user, later] = times[user, later - new]
        actions[user, later] = actions[user, later - new]
    at = told.stop[number] - 1
    while new > 0:
        if items[at] >= 0:
            keys[user, place], times[user, place], actions[user, place] = item_keys[items[at]], ts, SKIP
            place += 1
            new -= 1
        at -= 1


@inlined
def _forget(users: Users, user: int, item: int, shown_ts: int) -> None:
    """An item that was clicked was not shown in vain."""
    items, times, actions = users.disliked_items, users.disliked_ts, users.disliked_actions
    for place in range(DISLIKED):
        if actions[user, place] == SKIP and items[user, place] == item and times[user, place] == shown_ts:
            for later in range(place, DISLIKED - 1):
                items[user, later] = items[user, later + 1]
                times[user, later] = times[user, later + 1]
                actions[user, later] = actions[user, later + 1]
            items[user, DISLIKED - 1], times[user, DISLIKED - 1], actions[user, DISLIKED - 1] = 0, 0, 0
            return


@inlined
def _user(users: Users, key: int, most: int) -> int:
    """Return the slot of a user; a new one takes, once all are taken, that of the least recently seen of a sample."""
    slot = find(users.cells, users.slots, key)
    if slot >= 0:
        return slot
    slot = users.used[0]
    if slot < most:
        users.used[0] += 1
    else:
        slot = (key & 0x7FFFFFFFFFFFFFFF) % most
        for step in range(1, SAMPLED):
            other = ((key & 0x7FFFFFFFFFFFFFFF) + step * 2_654_435_761) % most
            if users.counts[other, LAST] < users.counts[slot, LAST]:
                slot = other
        remove(users.cells, users.slots, users.keys[slot])
        _blank(users, slot)
    users.keys[slot] = key
    insert(users.cells, users.slots, key, slot)
    return slot


@compiled
def _blank(users: Users, slot: int) -> None:
    users.counts[slot] = 0
    users.dayparts[slot] = 0
    for place in range(LIKED):
        users.liked_items[slot, place], users.liked_ts[slot, place], users.liked_actions[slot, place] = 0, 0, 0
    for place in range(DISLIKED):
        users.disliked_items[slot, place], users.disliked_ts[slot, place] = 0, 0
        users.disliked_actions[slot, place] = 0
