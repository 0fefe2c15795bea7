"""Taste for numbers: how the user chose among items of about the candidate's price, age, length, fame, ..."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats
from recsys.features.context import Context
from recsys.features.feature import Feature
from recsys.features.log import Ints
from recsys.features.surprise import choices

# Numbers are compared by their place in the catalog (share of smaller ones), cut into this many steps.
STEPS = 32
# Steps around the candidate's that count as about the same, and how far their weight reaches.
REACH = 9
WIDTH = 4.8
# How many of the last clicks the nearest one is looked for among.
NEWEST = 8
WEIGHTS = np.exp(-np.square(np.arange(-REACH, REACH + 1) / WIDTH))


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFigures:
    """One figure per row and number; each array has shape [R, numbers], NaN where the candidate has no such number."""

    taste: Floats
    distance: Floats
    nearest: Floats


def number_figures(context: Context) -> NumberFigures:
    """Compare the user's clicks on items of about this size with the expected, and the size with the liked ones."""
    share, past = context.world.numbers.share, context.get(choices)
    numbers = share.shape[1]
    sizes = share[past.rows]
    real = past.known[:, :, None] & ~np.isnan(sizes)
    own = share[context.rows]
    steps = _step(sizes)
    cells = (len(context.lists), numbers, STEPS)
    keys = (np.arange(cells[0])[:, None, None] * numbers + np.arange(numbers)) * STEPS + steps
    flat = keys[real]

    def spread(figure: Floats) -> Floats:
        weights = np.repeat(figure[:, :, None], numbers, axis=2)[real]
        counts = np.bincount(flat, weights=weights, minlength=int(np.prod(cells))).reshape(cells)
        padded = np.pad(counts, ((0, 0), (0, 0), (REACH, REACH)))
        near = np.zeros(cells)
        for offset, weight in enumerate(WEIGHTS):  # in a fixed order, so that every batch gives the same sums
            near += weight * padded[:, :, offset : offset + STEPS]
        return near

    expected = spread(past.expected)
    taste = (spread(past.clicked.astype(np.float64)) - expected) / (expected + 2)
    found = taste[context.list_of_row[:, None], np.arange(numbers), _step(own)]
    return NumberFigures(
        taste=np.where(np.isnan(own), np.nan, found),
        distance=np.abs(own - _mean_liked(sizes, real & past.clicked[:, :, None])[context.list_of_row]),
        nearest=_nearest(context, sizes, own),
    )


def _step(share: Floats) -> Ints:
    return np.minimum(np.nan_to_num(share) * STEPS, STEPS - 1).astype(np.int64)


def _mean_liked(sizes: Floats, liked: npt.NDArray[np.bool_]) -> Floats:
    count = liked.sum(axis=1)
    total = np.where(liked, sizes, 0.0).cumsum(axis=1)[:, -1]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _nearest(context: Context, sizes: Floats, own: Floats) -> Floats:
    """Return the distance to the nearest size among the user's last clicks."""
    past = context.get(choices)
    real = past.clicked[:, :NEWEST, None] & ~np.isnan(sizes[:, :NEWEST])
    newest = np.where(real, sizes[:, :NEWEST], np.inf)
    smallest = np.abs(own[:, None, :] - newest[context.list_of_row]).min(axis=1)
    return np.where(np.isfinite(smallest), smallest, np.nan)


def _raw(column: int, context: Context) -> Floats:
    raw: Floats = context.world.numbers.raw[context.rows, column]
    return raw


def _figure(name: str, column: int, context: Context) -> Floats:
    figures: Floats = getattr(context.get(number_figures), name)
    return figures[:, column]


_FIGURES = (
    ("taste", "The user's taste for about this {}", True),
    ("distance", "How far its {} is from what the user clicks", True),
    ("nearest", "How far its {} is from the nearest recent click", False),
)


def declare(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Derive the features of each numeric or boolean attribute."""
    taken = tuple(
        Feature(name=name, description=f"Its {name}", compute=partial(_raw, column), relative=True, counter=False)
        for column, name in enumerate(names)
    )
    return taken + tuple(
        Feature(
            name=f"user_{name}_{figure}",
            description=text.format(name),
            compute=partial(_figure, figure, column),
            relative=relative,
        )
        for column, name in enumerate(names)
        for figure, text, relative in _FIGURES
    )
