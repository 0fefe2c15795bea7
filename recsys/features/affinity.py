"""Taste for attribute values: how the user chose among items that share a category, tag, ... with the candidate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats
from recsys.features.context import Context, prior
from recsys.features.encounters import user_rate
from recsys.features.feature import Feature
from recsys.features.popularity import SMOOTHING, all_time
from recsys.features.surprise import choices


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFigures:
    """One figure per row and attribute, over the values that the candidate holds; each array has shape [R, A].

    Rates and shares are means over the values, NaN where there are none; tastes sum evidence, 0 where there is none.
    """

    clicks: Floats
    rate: Floats
    share: Floats
    taste: Floats
    rare_taste: Floats
    excess: Floats
    popularity: Floats


def value_figures(context: Context) -> ValueFigures:
    """Compare the user's clicks on each value with the number that the items' general success makes one expect."""
    values, past = context.world.values, context.get(choices)
    codes = values.codes[context.rows]
    held = codes >= 0
    safe = np.where(held, codes, 0)
    views, clicks, expected = _profile(context, safe)
    rate = context.per_row(context.get(user_rate))[:, None]
    total = np.maximum(context.per_row(past.clicked.sum(axis=1)), 1)[:, None]
    evidence = np.log((clicks + 1.5) / (expected + 1.5))
    counts = values.held[context.rows]
    some = np.where(counts > 0, counts, np.nan)

    def over_values(figure: Floats) -> Floats:
        summed: Floats = np.add.reduceat(np.where(held, figure, 0.0), values.blocks, axis=1)
        return summed

    clicked = over_values(clicks) / some
    return ValueFigures(
        clicks=clicked,
        rate=over_values((clicks + 2 * rate) / (views + 2)) / some,
        share=clicked / total,
        taste=over_values(evidence),
        rare_taste=over_values(evidence * values.rarity[safe] if values.size else evidence),
        excess=over_values((clicks - expected) / (expected + 3)) / some,
        popularity=over_values(_popularity(context, codes)) / some,
    )


def _profile(context: Context, codes: npt.NDArray[np.integer]) -> tuple[Floats, Floats, Floats]:
    """Count the views, clicks and expected clicks of the candidate's values among the user's choices; [R, M] each."""
    values, past = context.world.values, context.get(choices)
    if not values.size:
        nothing = np.zeros(codes.shape)
        return nothing, nothing, nothing
    held = values.codes[past.rows]
    where, which, _ = real = np.nonzero((held >= 0) & past.known[:, :, None])
    keys = held[real] + where * values.size
    cells = len(context.lists) * values.size
    wanted = codes + context.list_of_row[:, None] * values.size

    def counted(weights: Floats | None) -> Floats:
        found: Floats = np.bincount(keys, weights=weights, minlength=cells)[wanted]
        return found

    return (
        counted(None),
        counted(past.clicked[where, which].astype(np.float64)),
        counted(past.expected[where, which]),
    )


def _popularity(context: Context, codes: npt.NDArray[np.int32]) -> Floats:
    """Return the click rate of each value over the other items that hold it; [R, M]."""
    ticks = np.broadcast_to(context.per_row(context.ticks)[:, None], codes.shape)
    counts = context.world.logs.values.before(codes, ticks)
    own = context.get(all_time)[:, None, :2]
    # On a long log a value's counters lag behind the item's own, so the difference may fall below nothing.
    others = np.maximum(counts - own, 0)
    start = context.per_row(context.get(prior))[:, None]
    rate: Floats = (others[..., 1] + SMOOTHING * start) / (others[..., 0] + SMOOTHING)
    return rate


_FIGURES = (
    ("clicks", "Clicks of the user on items of the same {}", False),
    ("rate", "The user's clicks per view on items of the same {}", True),
    ("share", "Share of the user's clicks on items of the same {}", False),
    ("taste", "The user's taste for its {}", True),
    ("rare_taste", "The user's taste for its {}, rare ones counting more", True),
    ("excess", "The user's clicks beyond the expected on items of the same {}", True),
)


def _figure(name: str, column: int, context: Context) -> Floats:
    figures: Floats = getattr(context.get(value_figures), name)
    return figures[:, column]


def declare(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Derive the features of each string or list attribute."""
    tastes = tuple(
        Feature(
            name=f"user_{name}_{figure}",
            description=text.format(name),
            compute=partial(_figure, figure, column),
            relative=relative,
        )
        for column, name in enumerate(names)
        for figure, text, relative in _FIGURES
    )
    return tastes + tuple(
        Feature(
            name=f"{name}_popularity",
            description=f"Click rate of other items of the same {name}",
            compute=partial(_figure, "popularity", column),
            relative=True,
        )
        for column, name in enumerate(names)
    )
