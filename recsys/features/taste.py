"""The loops over a user's choices: what they share with each candidate, attribute by attribute and number by number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.features.compiled import compiled

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
    views, clicks, wanted, evidence = (
        np.zeros(rarity.size),
        np.zeros(rarity.size),
        np.zeros(rarity.size),
        np.zeros(rarity.size),
    )
    touched = np.empty(rarity.size, np.int64)
    for number in range(offsets.size - 1):
        count, total = 0, 0
        for place in range(choices.shape[1]):
            row = choices[number, place]
            if row < 0:
                continue
            total += clicked[number, place]
            for column in range(codes.shape[1]):
                code = codes[row, column]
                if code < 0:
                    continue
                if views[code] == 0.0:
                    touched[count] = code
                    count += 1
                views[code] += 1.0
                clicks[code] += clicked[number, place]
                wanted[code] += expected[number, place]
        for place in range(count):
            code = touched[place]
            evidence[code] = np.log((clicks[code] + 1.5) / (wanted[code] + 1.5))
        for at in range(offsets[number], offsets[number + 1]):
            row = rows[at]
            for attribute in range(attributes):
                held, sums = 0, (0.0, 0.0, 0.0, 0.0, 0.0)
                if row >= 0:
                    for column in range(blocks[attribute], blocks[attribute + 1]):
                        code = codes[row, column]
                        if code < 0:
                            continue
                        held += 1
                        sums = (
                            sums[0] + clicks[code],
                            sums[1] + (clicks[code] + 2 * user_rate[number]) / (views[code] + 2),
                            sums[2] + evidence[code],
                            sums[3] + evidence[code] * rarity[code],
                            sums[4] + (clicks[code] - wanted[code]) / (wanted[code] + 3),
                        )
                each = 1.0 / held if held > 0 else np.nan
                found[0, attribute, at] = sums[0] * each
                found[1, attribute, at] = sums[1] * each
                found[2, attribute, at] = sums[0] * each / max(total, 1)
                found[3, attribute, at] = sums[2]
                found[4, attribute, at] = sums[3]
                found[5, attribute, at] = sums[4] * each
        for place in range(count):
            code = touched[place]
            views[code], clicks[code], wanted[code], evidence[code] = 0.0, 0.0, 0.0, 0.0
    return found


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
