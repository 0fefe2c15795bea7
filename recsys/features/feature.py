"""What a feature is, and what the loops that compute features share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.compiled import inlined
from recsys.features.keys import Keys, Slots
from recsys.features.tables import Ints

Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Figures are rounded before they become float32, so that the last bits of a sum cannot move a candidate.
DIGITS = 6
_STEPS, _STEP = 10.0**DIGITS, 0.1**DIGITS
# How many views of average success every item, category and surface starts with.
SMOOTHING = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One figure per candidate, declared once; the loop beside its declaration computes it in training and in serving.

    ``relative`` adds the figure's z-score within the list as a feature, ``<name>@z``; ``counter`` says that the figure
    rests on the log of what people did, so that it is missing where the log is.
    """

    name: str
    description: str
    relative: bool = False
    counter: bool = True


class Question(NamedTuple):
    """L lists of R candidates."""

    ts: Ints  # [L], UTC microseconds
    offsets: Ints  # [L + 1]
    row: Slots  # [R], catalog rows, -1 for an item that the catalog does not know
    given: Bools  # [L], a history came with the list


class Sayings(NamedTuple):
    """What the catalog says of its I rows; see ``recsys.features.facts.CatalogFacts``. The last row says nothing."""

    codes: npt.NDArray[np.int32]  # [I, M]
    blocks: Ints  # [A + 1]
    rarity: Floats  # [V]
    categories: Keys  # [I]
    raw: Floats  # [I, N]
    share: Floats  # [I, N]


@inlined
def put(table: Table, row: int, column: int, figure: float) -> int:
    """Write a figure on the grid on which the models see it, and return the next column."""
    table[row, column] = np.rint(figure * _STEPS) * _STEP
    return column + 1


@inlined
def rate(views: float, clicks: float, prior: float) -> float:
    """Return clicks per view, drawn towards that of everything where views are few."""
    return (clicks + SMOOTHING * prior) / (views + SMOOTHING)
