"""What the state remembers, as columns by slot: every key has one row of fixed size, so that memory can be foretold."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.columns import longer
from recsys.features.keys import Keys, Slots, append_all, empty_index
from recsys.features.windows import WORDS
from recsys.schema import ACTIONS

# How many of a user's last welcome actions, and of the items shown in vain or hidden, are remembered.
LIKED = 48
DISLIKED = 96
# With how many other items an item can share clicks; beyond, the rarest partner gives way.
PARTNERS = 64
# Places of a list that are told apart; those behind count as the last.
PLACES = 64
DAYPARTS = 6

Ints = npt.NDArray[np.int64]


class Keyed(NamedTuple):
    """Counts of keys that are few: categories, surfaces; ``used`` has one element."""

    cells: Keys
    slots: Slots
    keys: Keys
    used: Ints
    counts: Ints  # [n, WORDS], see ``windows``


class Items(NamedTuple):
    """What is known of each item."""

    cells: Keys
    slots: Slots
    keys: Keys
    used: Ints
    counts: Ints  # [n, WORDS], see ``windows``
    expected: Ints  # [n], clicks to be expected of the places where it stood, in millionths
    actions: npt.NDArray[np.uint32]  # [n, ACTIONS], interactions by code
    partners: npt.NDArray[np.uint32]  # [n, PARTNERS], the low half of the key of each item clicked by the same people
    shared: npt.NDArray[np.uint32]  # [n, PARTNERS], how often; 0 where the place is free


class Users(NamedTuple):
    """What is known of each user; the remembered actions stand newest first, with action 0 where there is none."""

    cells: Keys
    slots: Slots
    keys: Keys
    used: Ints
    counts: Ints  # [n, WORDS], see ``windows``
    dayparts: npt.NDArray[np.uint32]  # [n, DAYPARTS], clicks by time of day, UTC
    liked_items: Keys  # [n, LIKED]
    liked_ts: Ints
    liked_actions: npt.NDArray[np.int8]
    disliked_items: Keys  # [n, DISLIKED]
    disliked_ts: Ints
    disliked_actions: npt.NDArray[np.int8]


class Tables(NamedTuple):
    """The whole state. ``overall`` has one row; ``values`` counts by attribute value, ``places`` by place in a list."""

    items: Items
    users: Users
    categories: Keyed
    surfaces: Keyed
    overall: Ints  # [1, WORDS]
    values: Ints  # [V, 2]
    places: Ints  # [PLACES, 2]


def empty_tables(*, values: int, items: int = 16, users: int = 16) -> Tables:
    """Make a state that remembers nothing, with room for some items and users, and for all attribute values."""
    return Tables(
        items=Items(
            *empty_index(items),
            np.zeros(items, np.int64),
            np.zeros(1, np.int64),
            np.zeros((items, WORDS), np.int64),
            np.zeros(items, np.int64),
            np.zeros((items, len(ACTIONS)), np.uint32),
            np.zeros((items, PARTNERS), np.uint32),
            np.zeros((items, PARTNERS), np.uint32),
        ),
        users=Users(
            *empty_index(users),
            np.zeros(users, np.int64),
            np.zeros(1, np.int64),
            np.zeros((users, WORDS), np.int64),
            np.zeros((users, DAYPARTS), np.uint32),
            np.zeros((users, LIKED), np.int64),
            np.zeros((users, LIKED), np.int64),
            np.zeros((users, LIKED), np.int8),
            np.zeros((users, DISLIKED), np.int64),
            np.zeros((users, DISLIKED), np.int64),
            np.zeros((users, DISLIKED), np.int8),
        ),
        categories=_keyed(16),
        surfaces=_keyed(16),
        overall=np.zeros((1, WORDS), np.int64),
        values=np.zeros((values, 2), np.int64),
        places=np.zeros((PLACES, 2), np.int64),
    )


def _keyed(room: int) -> Keyed:
    return Keyed(*empty_index(room), np.zeros(room, np.int64), np.zeros(1, np.int64), np.zeros((room, WORDS), np.int64))


Table = TypeVar("Table", Items, Users, Keyed)


def grown(table: Table, room: int) -> Table:
    """Return a table with at least that much room, doubling, so that growing costs constant time per key."""
    if table.keys.size >= room:
        return table
    room = max(room, 2 * table.keys.size)
    columns = {name: longer(getattr(table, name), room) for name in table._fields if name not in _INDEX}
    cells, slots = empty_index(room)
    append_all(cells, slots, table.keys[: table.used[0]], 0)
    return type(table)(cells=cells, slots=slots, used=table.used, **columns)


_INDEX = ("cells", "slots", "used")


def columns_of(table: Items | Users | Keyed | Ints) -> dict[str, npt.NDArray[Any]]:
    """Name the columns that hold one row per slot, in the order in which a row is written down."""
    if isinstance(table, np.ndarray):
        return {"counts": table}
    return {name: getattr(table, name) for name in table._fields if name not in _INDEX}


def bytes_per_row(table: Items | Users | Keyed) -> int:
    """Return how many bytes one key takes, without its place in the index."""
    return sum(column[:1].nbytes for column in columns_of(table).values())
