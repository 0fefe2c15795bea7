"""What the state is asked at one moment of users and candidates, and the form of its answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.features.keys import Keys, Slots
from recsys.features.tables import DAYPARTS, DISLIKED, LIKED, Ints
from recsys.features.windows import WINDOWS

Floats = npt.NDArray[np.float64]

# How many of the remembered welcome actions the tastes rest on.
TASTED = 32
CHOICES = TASTED + DISLIKED


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
