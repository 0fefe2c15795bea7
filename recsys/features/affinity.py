"""Taste for attribute values: how the user chose among items that share a category, tag, ... with the candidate."""

from __future__ import annotations

from functools import partial

from recsys.features.attributes import Floats
from recsys.features.context import Context
from recsys.features.encounters import user_rate
from recsys.features.feature import Feature
from recsys.features.surprise import choices
from recsys.features.taste import VALUE_FIGURES, value_tastes


def value_figures(context: Context) -> Floats:
    """Return ``VALUE_FIGURES`` of each attribute and row; shape [6, A, R]."""
    past, values = context.get(choices), context.facts.values
    return value_tastes(
        context.rows,
        context.lists.offsets,
        past.rows,
        past.clicked,
        past.expected,
        context.get(user_rate),
        context.facts.codes,
        values.blocks,
        values.rarity,
    )


_FIGURES = {
    "clicks": ("Clicks of the user on items of the same {}", False),
    "rate": ("The user's clicks per view on items of the same {}", True),
    "share": ("Share of the user's clicks on items of the same {}", False),
    "taste": ("The user's taste for its {}", True),
    "rare_taste": ("The user's taste for its {}, rare ones counting more", True),
    "excess": ("The user's clicks beyond the expected on items of the same {}", True),
}


def _figure(figure: int, attribute: int, context: Context) -> Floats:
    figures: Floats = context.get(value_figures)[figure, attribute]
    return figures


def _popularity(attribute: int, context: Context) -> Floats:
    return context.seen.popularity[:, attribute]


def declare(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Derive the features of each string or list attribute."""
    tastes = tuple(
        Feature(
            name=f"user_{name}_{figure}",
            description=_FIGURES[figure][0].format(name),
            compute=partial(_figure, place, attribute),
            relative=_FIGURES[figure][1],
        )
        for attribute, name in enumerate(names)
        for place, figure in enumerate(VALUE_FIGURES)
    )
    return tastes + tuple(
        Feature(
            name=f"{name}_popularity",
            description=f"Click rate of other items of the same {name}",
            compute=partial(_popularity, attribute),
            relative=True,
        )
        for attribute, name in enumerate(names)
    )
