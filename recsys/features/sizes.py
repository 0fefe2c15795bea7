"""Taste for numbers: how the user chose among items of about the candidate's price, age, length, fame, ..."""

from __future__ import annotations

from functools import partial

from recsys.features.attributes import Floats
from recsys.features.context import Context
from recsys.features.feature import Feature
from recsys.features.surprise import choices
from recsys.features.taste import NUMBER_FIGURES, number_tastes


def number_figures(context: Context) -> Floats:
    """Return ``NUMBER_FIGURES`` of each number and row; shape [3, N, R]."""
    past = context.get(choices)
    return number_tastes(
        context.rows, context.lists.offsets, past.rows, past.clicked, past.expected, context.facts.share
    )


def _raw(column: int, context: Context) -> Floats:
    raw: Floats = context.facts.raw[context.rows, column]
    return raw


def _figure(figure: int, column: int, context: Context) -> Floats:
    figures: Floats = context.get(number_figures)[figure, column]
    return figures


_FIGURES = {
    "taste": ("The user's taste for about this {}", True),
    "distance": ("How far its {} is from what the user clicks", True),
    "nearest": ("How far its {} is from the nearest recent click", False),
}


def declare(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Derive the features of each numeric or boolean attribute."""
    taken = tuple(
        Feature(name=name, description=f"Its {name}", compute=partial(_raw, column), relative=True, counter=False)
        for column, name in enumerate(names)
    )
    return taken + tuple(
        Feature(
            name=f"user_{name}_{figure}",
            description=_FIGURES[figure][0].format(name),
            compute=partial(_figure, place, column),
            relative=_FIGURES[figure][1],
        )
        for column, name in enumerate(names)
        for place, figure in enumerate(NUMBER_FIGURES)
    )
