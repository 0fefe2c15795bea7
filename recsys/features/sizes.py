"""Taste for numbers: how the user chose among items of about the candidate's price, age, length, fame, ..."""

from __future__ import annotations

import numpy as np

from recsys.compiled import compiled, inlined
from recsys.features.feature import Feature, Floats, Question, Sayings, Table, put
from recsys.features.seen import CHOICES
from recsys.features.surprise import Choices

# Numbers are compared by their place in the catalog (share of smaller ones), cut into this many steps.
STEPS = 32
# Steps around the candidate's that count as about the same, and how far their weight reaches.
REACH = 9
WEIGHTS = np.exp(-np.square(np.arange(-REACH, REACH + 1) / 4.8))
# How many of the last clicks the nearest one is looked for among.
NEWEST = 8

# Of each number, in the order of their columns: what it is about, and whether it is relative.
_FIGURES = {
    "taste": ("The user's taste for about this {}", True),
    "distance": ("How far its {} is from what the user clicks", True),
    "nearest": ("How far its {} is from the nearest recent click", False),
}


def declare(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Derive the features of each numeric or boolean attribute."""
    taken = tuple(Feature(name=name, description=f"Its {name}", relative=True, counter=False) for name in names)
    return taken + tuple(
        Feature(name=f"user_{name}_{figure}", description=says.format(name), relative=relative)
        for name in names
        for figure, (says, relative) in _FIGURES.items()
    )


@compiled
def fill(past: Choices, question: Question, says: Sayings, table: Table, first: int) -> None:
    """Compare the user's clicks on items of about this size with the expected, and the size with the liked ones.

    Writes what ``declare`` names, from column ``first`` on; NaN where the candidate has no such number.
    """
    raw, share, rows = says.raw, says.share, question.row
    numbers = share.shape[1]
    hits, wanted, near = np.empty(STEPS), np.empty(STEPS), np.empty(STEPS)
    for column in range(numbers):
        for number in range(question.ts.size):
            liked = _by_step(past, number, share, column, hits, wanted)
            near[:] = np.nan
            for row in range(question.offsets[number], question.offsets[number + 1]):
                put(table, row, first + column, raw[rows[row], column])
                own = share[rows[row], column]
                at = first + numbers + 3 * column
                taste, closest = np.nan, np.nan
                if not np.isnan(own):
                    step = min(int(own * STEPS), STEPS - 1)
                    if np.isnan(near[step]):
                        near[step] = _taste(hits, wanted, step)
                    taste = near[step]
                    closest = _closest(past, number, share, column, own)
                at = put(table, row, at, taste)
                at = put(table, row, at, abs(own - liked))
                put(table, row, at, closest)


@inlined
def _by_step(past: Choices, number: int, share: Floats, column: int, hits: Floats, wanted: Floats) -> float:
    """Sum a user's clicks and the expected ones by step; returns the mean size of what the user clicked."""
    chosen, clicked, expected = past.row, past.clicked, past.expected
    hits[:], wanted[:] = 0.0, 0.0
    count, total = 0, 0.0
    for place in range(CHOICES):
        row = chosen[number, place]
        if row < 0 or np.isnan(share[row, column]):
            continue
        step = min(int(share[row, column] * STEPS), STEPS - 1)
        wanted[step] += expected[number, place]
        if clicked[number, place]:
            hits[step] += 1.0
            count += 1
            total += share[row, column]
    return total / count if count > 0 else np.nan


@inlined
def _taste(hits: Floats, wanted: Floats, step: int) -> float:
    clicks, expected = 0.0, 0.0
    for other in range(max(step - REACH, 0), min(step + REACH + 1, STEPS)):
        clicks += WEIGHTS[other - step + REACH] * hits[other]
        expected += WEIGHTS[other - step + REACH] * wanted[other]
    return (clicks - expected) / (expected + 2)


@inlined
def _closest(past: Choices, number: int, share: Floats, column: int, own: float) -> float:
    chosen, clicked = past.row, past.clicked
    closest = np.nan
    for place in range(NEWEST):
        row = chosen[number, place]
        if row >= 0 and clicked[number, place] and not np.isnan(share[row, column]):
            gap = abs(own - share[row, column])
            closest = gap if np.isnan(closest) else min(closest, gap)
    return closest
