"""How the user's past choices differ from what everybody would have chosen: the ground of all taste features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.compiled import compiled
from recsys.features.feature import Bools, Feature, Floats, Question, Table, put, rate
from recsys.features.keys import Slots
from recsys.features.seen import CHOICES, TASTED, Seen
from recsys.features.windows import CLICKS, VIEWS

FEATURES = (
    Feature(name="user_keenness", description="The user's clicks over the expected ones"),
    Feature(name="user_usual_rate", description="Click rate of what the user clicks"),
)


class Choices(NamedTuple):
    """The items that each list's user was last shown, clicked ones first.

    ``expected`` is the chance that this user clicks an item of this one's general success: the item's click rate,
    scaled so that the user's expected and actual numbers of clicks agree. Taste is clicks against that.
    ``keenness`` is that scale, and ``usual_rate`` the click rate of what the user clicks.
    """

    row: Slots  # [L, CHOICES], catalog rows, -1 padded and where unknown
    clicked: Bools  # [L, CHOICES]
    expected: Floats  # [L, CHOICES]
    keenness: Floats  # [L]
    usual_rate: Floats  # [L]


@compiled
def choices(seen: Seen) -> Choices:
    """Gather the choices with the items' click rates as known at the moment of each list."""
    lists = seen.prior.size
    found = Choices(
        np.empty((lists, CHOICES), np.int32),
        np.zeros((lists, CHOICES), np.bool_),
        np.zeros((lists, CHOICES)),
        np.empty(lists),
        np.empty(lists),
    )
    chosen, clicked, expected, choice = found.row, found.clicked, found.expected, seen.choice
    liked, disliked = seen.liked_row, seen.disliked_row
    for number in range(lists):
        clicks, total, total_clicked, prior = 0, 0.0, 0.0, seen.prior[number]
        for place in range(CHOICES):
            row = liked[number, place] if place < TASTED else disliked[number, place - TASTED]
            chosen[number, place] = row
            if row < 0:
                continue
            usual = rate(choice[number, place, VIEWS], choice[number, place, CLICKS], prior)
            expected[number, place] = usual
            total += usual
            if place < TASTED:
                clicked[number, place] = True
                clicks += 1
                total_clicked += usual
        keenness = (clicks + 2) / (total + 2)
        found.keenness[number] = keenness
        found.usual_rate[number] = (total_clicked + 0.2) / (clicks + 1)
        for place in range(CHOICES):
            expected[number, place] = min(expected[number, place] * keenness, 0.95)
    return found


@compiled
def fill(past: Choices, question: Question, table: Table, first: int) -> None:
    """Write ``FEATURES`` of every candidate, in their order, from column ``first`` on."""
    for number in range(question.ts.size):
        for row in range(question.offsets[number], question.offsets[number + 1]):
            at = put(table, row, first, past.keenness[number])
            put(table, row, at, past.usual_rate[number])
