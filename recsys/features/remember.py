"""How a state remembers what a user did: newest first, the oldest falling out, and who liked what together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled, inlined, prefetch
from recsys.features.keys import Keys, Slots, find, insert, remove
from recsys.features.tables import DISLIKED, LIKED, PARTNERS, Ints, Tables, Users
from recsys.features.windows import LAST
from recsys.schema import ACTION_CODE

SKIP, HIDE = ACTION_CODE["skip"], ACTION_CODE["hide"]
# How many of a user's earlier clicks each click is paired with.
PAIRED = 20
# How many users are compared when one has to give way to a new one.
SAMPLED = 16


@inlined
def like(tables: Tables, user: int, slot: int, ts: int, action: int) -> None:
    """Remember a welcome action, and pair its item with those that the user liked before."""
    items, times, actions = tables.users.liked_items, tables.users.liked_ts, tables.users.liked_actions
    cells, slots = tables.items.cells, tables.items.slots
    partners, shared = tables.items.partners, tables.items.shared
    key = tables.items.keys[slot]
    for place in range(PAIRED):  # asked of memory together, then used in turn
        if actions[user, place] == 0:
            break
        other = find(cells, slots, items[user, place])
        if other >= 0:
            for line in range(PARTNERS // 16):
                prefetch(partners, other, 64 * line)
                prefetch(shared, other, 64 * line)
    for place in range(PAIRED):
        if actions[user, place] == 0:
            break
        earlier = items[user, place]
        if earlier != key:
            _pair(partners, shared, slot, earlier)
            other = find(cells, slots, earlier)
            if other >= 0:
                _pair(partners, shared, other, key)
    remember(items, times, actions, user, key, ts, action)


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
def remember(
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
def remember_list(users: Users, user: int, item_keys: Keys, items: Slots, start: int, stop: int, ts: int) -> None:
    """Remember a list as shown in vain: as ``remember`` would item by item, but moving the older ones once."""
    new = 0
    for at in range(start, stop):
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
    at = stop - 1
    while new > 0:
        if items[at] >= 0:
            keys[user, place], times[user, place], actions[user, place] = item_keys[items[at]], ts, SKIP
            place += 1
            new -= 1
        at -= 1


@inlined
def forget(users: Users, user: int, item: int, shown_ts: int) -> None:
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
def place_of_user(users: Users, key: int, most: int) -> int:
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
