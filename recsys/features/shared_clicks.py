"""What the user's recent clicks share with a candidate: who clicked both, by a small index of the recent ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled, inlined
from recsys.features.keys import Keys, Slots
from recsys.features.seen import Floats
from recsys.features.tables import PARTNERS
from recsys.features.windows import CLICKS

# So many of the last clicks count.
RECENT = 20
# What an item has shared clicks for so few clicks is mostly chance.
CO_SMOOTHING, CHANCE_SMOOTHING = 5, 10
# Cells of the index, by the key's last bits: a power of two, nearly all empty, so that most strangers meet none.
_CELLS = 4_096

Halves = npt.NDArray[np.uint32]


class Recent(NamedTuple):
    """One user's recent clicks, each item once."""

    place: npt.NDArray[np.int8]  # [_CELLS], where the item of a cell stands below, from 1; 0 for an empty cell
    cell: npt.NDArray[np.int64]  # [RECENT], which cell leads to it
    low: Halves  # [RECENT], the low half of its key
    weight: Floats  # [RECENT, 3]: sum and one of closeness, sum of chances
    held: npt.NDArray[np.int64]  # [1], how many


@compiled
def no_clicks() -> Recent:
    """Make an index without clicks."""
    return Recent(
        np.zeros(_CELLS, np.int8),
        np.zeros(RECENT, np.int64),
        np.zeros(RECENT, np.uint32),
        np.zeros((RECENT, 3)),
        np.zeros(1, np.int64),
    )


@inlined
def note(recent: Recent, liked: Slots, keys: Keys, choice: Floats, number: int) -> None:
    """Note the clicks of a list's user, with their items' views and clicks ever, instead of those before."""
    place_of, cells, lows, weight = recent.place, recent.cell, recent.low, recent.weight
    for place in range(recent.held[0]):
        place_of[cells[place]] = 0
    count = 0
    for place in range(RECENT):
        row = liked[number, place]
        if row < 0:
            continue
        low = np.uint32(keys[row] & 0xFFFFFFFF)
        cell = np.int64(low & (_CELLS - 1))
        while place_of[cell] != 0 and lows[place_of[cell] - 1] != low:
            cell = (cell + 1) & (_CELLS - 1)
        clicks = choice[number, place, CLICKS]
        closeness, chance = 1 / np.sqrt(clicks + CO_SMOOTHING), 1 / (clicks + CHANCE_SMOOTHING)
        if place_of[cell] == 0:
            lows[count], cells[count] = low, cell
            weight[count, 0], weight[count, 1], weight[count, 2] = closeness, closeness, chance
            count += 1
            place_of[cell] = count
        else:
            weight[place_of[cell] - 1, 0] += closeness
            weight[place_of[cell] - 1, 2] += chance
    recent.held[0] = count


@inlined
def write_shared(
    recent: Recent, partners: Halves, times: Halves, slot: int, clicks: int, shared: Floats, row: int
) -> None:
    """Sum over the recent clicks how many clicks each shares with the candidate."""
    place_of, lows, weight = recent.place, recent.low, recent.weight
    hit = 0
    for place in range(PARTNERS):  # without a question on the way: the rule is that there is none
        hit |= place_of[partners[slot, place] & (_CELLS - 1)]
    if hit == 0:
        return
    own = 1 / np.sqrt(clicks + CO_SMOOTHING)
    for place in range(PARTNERS):
        low, number = partners[slot, place], times[slot, place]
        if number == 0:
            return
        cell = low & (_CELLS - 1)
        while place_of[cell] != 0:
            known = place_of[cell] - 1
            if lows[known] == low:
                shared[row, 0] += number * own * weight[known, 0]
                shared[row, 1] = max(shared[row, 1], number * own * weight[known, 1])
                shared[row, 2] += number * weight[known, 2]
                break
            cell = (cell + 1) & (_CELLS - 1)
