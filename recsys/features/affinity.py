"""Taste for attribute values: how the user chose among items that share a category, tag, ... with the candidate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled, inlined
from recsys.features.encounters import user_rate
from recsys.features.feature import Feature, Floats, Question, Sayings, Table, put
from recsys.features.seen import CHOICES, Seen
from recsys.features.surprise import Choices
from recsys.features.tables import Ints

Codes = npt.NDArray[np.int32]

# Of each attribute, in the order of their columns: what it is about, and whether it is relative.
_FIGURES = {
    "clicks": ("Clicks of the user on items of the same {}", False),
    "rate": ("The user's clicks per view on items of the same {}", True),
    "share": ("Share of the user's clicks on items of the same {}", False),
    "taste": ("The user's taste for its {}", True),
    "rare_taste": ("The user's taste for its {}, rare ones counting more", True),
    "excess": ("The user's clicks beyond the expected on items of the same {}", True),
}
# Of a value in the user's profile: views, clicks, expected clicks, evidence (NaN until somebody asks).
_VIEWS, _CLICKS, _EXPECTED, _EVIDENCE = range(4)


def declare(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Derive the features of each string or list attribute."""
    tastes = tuple(
        Feature(name=f"user_{name}_{figure}", description=says.format(name), relative=relative)
        for name in names
        for figure, (says, relative) in _FIGURES.items()
    )
    return tastes + tuple(
        Feature(name=f"{name}_popularity", description=f"Click rate of other items of the same {name}", relative=True)
        for name in names
    )


@compiled
def fill(
    seen: Seen, past: Choices, question: Question, says: Sayings, profile: Floats, table: Table, first: int
) -> None:
    """Compare the user's clicks on each value with the number that the items' general success makes one expect.

    Writes what ``declare`` names, from column ``first`` on. Rates and shares are means over the candidate's values, NaN
    where it has none; tastes sum evidence, 0 where there is none.

    ``profile`` [V + 1, 4] is room for what is known of one user by value; it must be zero, and is so again afterwards.
    """
    codes, blocks, rarity, popularity, rows = says.codes, says.blocks, says.rarity, seen.popularity, question.row
    attributes = blocks.size - 1
    touched = np.empty(CHOICES * codes.shape[1] + 1, np.int64)
    for number in range(question.ts.size):
        count, total = _fill_profile(past, number, codes, profile, touched)
        usual = user_rate(seen, question, number)
        for row in range(question.offsets[number], question.offsets[number + 1]):
            at = first
            for attribute in range(attributes):
                begin, end = blocks[attribute], blocks[attribute + 1]
                at = _of_attribute(rows[row], begin, end, codes, profile, rarity, usual, total, table, row, at)
            for attribute in range(attributes):
                at = put(table, row, at, popularity[row, attribute])
        for place in range(count):
            profile[touched[place]] = 0.0


@inlined
def _fill_profile(past: Choices, number: int, codes: Codes, profile: Floats, touched: Ints) -> tuple[int, int]:
    """Sum a user's choices by value; returns how many values they have, and the user's clicks."""
    chosen, clicked, expected = past.row, past.clicked, past.expected
    count, total = 0, 0
    for place in range(CHOICES):
        row = chosen[number, place]
        if row < 0:
            continue
        total += clicked[number, place]
        # Without a question on the way: whether a value is new, or there is none, nobody can foretell. What there is
        # none of is counted under the last code.
        for column in range(codes.shape[1]):
            code = codes[row, column]
            touched[count] = code
            count += profile[code, _VIEWS] == 0.0
            profile[code, _VIEWS] += 1.0
            profile[code, _CLICKS] += clicked[number, place]
            profile[code, _EXPECTED] += expected[number, place]
            profile[code, _EVIDENCE] = np.nan
    return count, total


@inlined
def _of_attribute(
    known: int,
    begin: int,
    end: int,
    codes: Codes,
    profile: Floats,
    rarity: Floats,
    usual: float,
    total: int,
    table: Table,
    row: int,
    at: int,
) -> int:
    """Write the figures of one candidate and attribute."""
    held = 0
    clicks, share, taste, rare, excess = 0.0, 0.0, 0.0, 0.0, 0.0
    if known >= 0:
        for column in range(begin, end):
            code = codes[known, column]
            if code >= 0:
                held += 1
                views, hits, wanted = profile[code, _VIEWS], profile[code, _CLICKS], profile[code, _EXPECTED]
                if np.isnan(profile[code, _EVIDENCE]):
                    profile[code, _EVIDENCE] = np.log((hits + 1.5) / (wanted + 1.5))
                clicks += hits
                share += (hits + 2 * usual) / (views + 2)
                taste += profile[code, _EVIDENCE]
                rare += profile[code, _EVIDENCE] * rarity[code]
                excess += (hits - wanted) / (wanted + 3)
    each = 1.0 / held if held > 0 else np.nan
    at = put(table, row, at, clicks * each)
    at = put(table, row, at, share * each)
    at = put(table, row, at, clicks * each / max(total, 1))
    at = put(table, row, at, taste)
    at = put(table, row, at, rare)
    return put(table, row, at, excess * each)
