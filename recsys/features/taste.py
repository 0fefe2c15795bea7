"""The loops over a user's choices: what they share with each candidate, attribute by attribute and number by number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.features.compiled import compiled, inlined

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

# Numbers are compared by their place in the catalog (share of smaller ones), cut into this many steps.
STEPS = 32
# Steps around the candidate's that count as about the same, and how far their weight reaches.
REACH = 9
WEIGHTS = np.exp(-np.square(np.arange(-REACH, REACH + 1) / 4.8))
# How many of the last clicks the nearest one is looked for among.
NEWEST = 8

# Columns of ``value_tastes`` and ``number_tastes``.
VALUE_FIGURES = ("clicks", "rate", "share", "taste", "rare_taste", "excess")
NUMBER_FIGURES = ("taste", "distance", "nearest")


@compiled
def value_tastes(
    rows: Rows,
    offsets: Ints,
    choices: Rows,
    clicked: Bools,
    expected: Floats,
    user_rate: Floats,
    codes: Rows,
    blocks: Ints,
    rarity: Floats,
) -> Floats:
    """Compare the user's clicks on each value with the number that the items' general success makes one expect.

    Args:
        rows: the candidates' catalog rows [R].
        offsets: of the lists [L + 1].
        choices: catalog rows of what the user was shown [L, C], -1 padded.
        clicked: which of them were clicked [L, C].
        expected: how probable that was [L, C].
        user_rate: clicks per item shown [L].
        codes: attribute values by catalog row [I, M], -1 padded.
        blocks: where each attribute's values begin [A + 1].
        rarity: ln(items / holders) by value [V].

    Returns:
        ``VALUE_FIGURES`` of each row and attribute [6, A, R]: rates and shares are means over the values, NaN where
        there are none; tastes sum evidence, 0 where there is none.
    """
    attributes = blocks.size - 1
    found = np.empty((6, attributes, rows.size))
    # By value: views, clicks, expected clicks, evidence. Only what a list's choices touch is filled, and blanked again.
    profile, touched = np.zeros((rarity.size, 4)), np.empty(rarity.size, np.int64)
    for number in range(offsets.size - 1):
        count, total = _fill_profile(choices[number], clicked[number], expected[number], codes, profile, touched)
        for at in range(offsets[number], offsets[number + 1]):
            for attribute in range(attributes):
                first, last = blocks[attribute], blocks[attribute + 1]
                _value_figures(
                    rows[at], first, last, codes, profile, rarity, user_rate[number], total, found, attribute, at
                )
        for place in range(count):
            profile[touched[place]] = 0.0
    return found


@inlined
def _fill_profile(
    choices: Rows, clicked: Bools, expected: Floats, codes: Rows, profile: Floats, touched: Ints
) -> tuple[int, int]:
    """Sum a user's choices by value; returns how many values they have, and the user's clicks."""
    count, total = 0, 0
    for place in range(choices.size):
        row = choices[place]
        if row < 0:
            continue
        total += clicked[place]
        for column in range(codes.shape[1]):
            code = codes[row, column]
            if code < 0:
                continue
            if profile[code, 0] == 0.0:
                touched[count] = code
                count += 1
            profile[code, 0] += 1.0
            profile[code, 1] += clicked[place]
            profile[code, 2] += expected[place]
    for place in range(count):
        code = touched[place]
        profile[code, 3] = np.log((profile[code, 1] + 1.5) / (profile[code, 2] + 1.5))
    return count, total


@inlined
def _value_figures(
    row: int,
    first: int,
    last: int,
    codes: Rows,
    profile: Floats,
    rarity: Floats,
    user_rate: float,
    total: int,
    found: Floats,
    attribute: int,
    at: int,
) -> None:
    """Write ``VALUE_FIGURES`` of one candidate and attribute."""
    held = 0
    clicks, rate, taste, rare, excess = 0.0, 0.0, 0.0, 0.0, 0.0
    if row >= 0:
        for column in range(first, last):
            code = codes[row, column]
            if code >= 0:
                held += 1
                views, hits, wanted, evidence = profile[code, 0], profile[code, 1], profile[code, 2], profile[code, 3]
                clicks += hits
                rate += (hits + 2 * user_rate) / (views + 2)
                taste += evidence
                rare += evidence * rarity[code]
                excess += (hits - wanted) / (wanted + 3)
    each = 1.0 / held if held > 0 else np.nan
    found[0, attribute, at], found[1, attribute, at] = clicks * each, rate * each
    found[2, attribute, at] = clicks * each / max(total, 1)
    found[3, attribute, at], found[4, attribute, at] = taste, rare
    found[5, attribute, at] = excess * each


@compiled
def number_tastes(rows: Rows, offsets: Ints, choices: Rows, clicked: Bools, expected: Floats, share: Floats) -> Floats:
    """Compare the user's clicks on items of about this size with the expected, and the size with the liked ones.

    ``share`` is each catalog row's place among all, 0 to 1, NaN without a number [I, N]; otherwise as ``value_tastes``.

    Returns:
        ``NUMBER_FIGURES`` of each row and number [3, N, R], NaN where the candidate has no such number.
    """
    numbers = share.shape[1]
    found = np.empty((3, numbers, rows.size))
    hits, wanted, near = np.empty(STEPS), np.empty(STEPS), np.empty(STEPS)
    for number in range(offsets.size - 1):
        for column in range(numbers):
            hits[:], wanted[:], near[:] = 0.0, 0.0, np.nan
            liked, total = 0, 0.0
            for place in range(choices.shape[1]):
                row = choices[number, place]
                if row < 0 or np.isnan(share[row, column]):
                    continue
                step = min(int(share[row, column] * STEPS), STEPS - 1)
                wanted[step] += expected[number, place]
                if clicked[number, place]:
                    hits[step] += 1.0
                    liked += 1
                    total += share[row, column]
            for at in range(offsets[number], offsets[number + 1]):
                own = share[rows[at], column] if rows[at] >= 0 else np.nan
                if np.isnan(own):
                    for figure in range(3):
                        found[figure, column, at] = np.nan
                    continue
                step = min(int(own * STEPS), STEPS - 1)
                if np.isnan(near[step]):
                    near[step] = _taste(hits, wanted, step)
                found[0, column, at] = near[step]
                found[1, column, at] = abs(own - total / liked) if liked > 0 else np.nan
                closest = np.inf
                for place in range(NEWEST):
                    row = choices[number, place]
                    if row >= 0 and clicked[number, place] and not np.isnan(share[row, column]):
                        closest = min(closest, abs(own - share[row, column]))
                found[2, column, at] = closest if closest < np.inf else np.nan
    return found


@compiled
def _taste(hits: Floats, wanted: Floats, step: int) -> float:
    clicks, expected = 0.0, 0.0
    for offset in range(-REACH, REACH + 1):
        if 0 <= step + offset < STEPS:
            clicks += WEIGHTS[offset + REACH] * hits[step + offset]
            expected += WEIGHTS[offset + REACH] * wanted[step + offset]
    return (clicks - expected) / (expected + 2)


@compiled
def meetings(rows: Rows, offsets: Ints, remembered: Rows, times: Ints) -> tuple[Floats, Ints]:
    """Count how often each row's item is among the user's remembered ones [L, H], and when last; both [R]."""
    counts, last = np.zeros(rows.size), np.zeros(rows.size, np.int64)
    for number in range(offsets.size - 1):
        for at in range(offsets[number], offsets[number + 1]):
            if rows[at] < 0:
                continue
            for place in range(remembered.shape[1]):
                if remembered[number, place] == rows[at]:
                    counts[at] += 1.0
                    last[at] = max(last[at], times[number, place])
    return counts, last


@compiled
def same_category(rows: Rows, offsets: Ints, liked: Rows, times: Ints, since: Ints, categories: Ints) -> Floats:
    """Count the liked items [L, H] of each row's category after some moments ``since`` [W, L]; shape [W, R]."""
    counts = np.zeros((since.shape[0], rows.size))
    for number in range(offsets.size - 1):
        for at in range(offsets[number], offsets[number + 1]):
            if rows[at] < 0 or categories[rows[at]] == 0:
                continue
            for place in range(liked.shape[1]):
                row = liked[number, place]
                if row >= 0 and categories[row] == categories[rows[at]]:
                    for window in range(since.shape[0]):
                        counts[window, at] += times[number, place] > since[window, number]
    return counts
