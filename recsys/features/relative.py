"""A figure's place among the figures of the same list: rank and z-score, whatever the order of the list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats
from recsys.features.log import Ints

Table = npt.NDArray[np.floating]


def ranks(values: Table, offsets: Ints) -> Floats:
    """Return each value's rank in its list: 0 the lowest, 1 the highest, equal ones share their mean; [R, C].

    NaN stays NaN and takes no rank; a value that stands alone has rank 0.5.
    """
    padded, where = _padded(values, offsets)
    order = np.argsort(padded, axis=2)
    ascending = np.take_along_axis(padded, order, axis=2)
    known = ~np.isnan(ascending)
    count = known.sum(axis=2, keepdims=True)
    rank = np.where(count > 1, _mean_places(ascending) / np.maximum(count - 1, 1), 0.5)
    unsorted = np.empty_like(rank)
    np.put_along_axis(unsorted, order, np.where(known, rank, np.nan), axis=2)
    found: Floats = unsorted[where]
    return found


def z_scores(values: Table, offsets: Ints) -> Floats:
    """Return how many standard deviations each value lies above its list's mean; 0 where all are equal; [R, C].

    NaN stays NaN and does not count. Sums run over sorted values, one after the other, so that neither the order of
    the list nor the lists computed beside it can change a bit.
    """
    padded, where = _padded(values, offsets)
    ascending = np.sort(padded, axis=2)
    known = ~np.isnan(ascending)
    count = np.maximum(known.sum(axis=2, keepdims=True), 1)
    mean = np.where(known, ascending, 0.0).cumsum(axis=2)[:, :, -1:] / count
    gaps = np.where(known, ascending - mean, 0.0)
    spread = np.sqrt(np.square(gaps).cumsum(axis=2)[:, :, -1:] / count)
    flat = spread <= 1e-9 * (np.abs(mean) + 1e-9)
    score = np.where(flat, padded * 0, (padded - mean) / np.where(flat, 1.0, spread))
    found: Floats = score[where]
    return found


def _padded(values: Table, offsets: Ints) -> tuple[Floats, tuple[Ints, slice, Ints]]:
    """Lay lists side by side, [L, C, longest], NaN behind the short ones; and say where each row went."""
    lengths = np.diff(offsets)
    which = np.repeat(np.arange(lengths.size), lengths)
    place = np.arange(values.shape[0]) - np.repeat(offsets[:-1], lengths)
    padded = np.full((lengths.size, values.shape[1], max(int(lengths.max(initial=0)), 1)), np.nan)
    where = (which, slice(None), place)
    padded[where] = values
    return padded, where


def _mean_places(ascending: Floats) -> Floats:
    """Return each value's place in its ascending row, equal values sharing the mean of theirs."""
    longest = ascending.shape[2]
    places = np.arange(longest)
    changes = ascending[:, :, 1:] != ascending[:, :, :-1]
    edge = np.ones((*ascending.shape[:2], 1), np.bool_)
    begins, ends = np.concatenate([edge, changes], axis=2), np.concatenate([changes, edge], axis=2)
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=2)
    last = np.minimum.accumulate(np.where(ends, places, longest)[:, :, ::-1], axis=2)[:, :, ::-1]
    mean: Floats = (first + last) / 2
    return mean
