"""How far the features of today's rankings are from those of the first ones, in memory that does not grow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW_S = 3_600.0
_SLOTS = 12
# Rows of one list that count: they share its user and its moment, so more of them say little more.
_ROWS_PER_LIST = 16
# Lists of the window below which an index is noise.
_FEWEST_LISTS = 200

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Bins of one feature: at most ten by the reference's deciles, one for what is lower still, one for missing."""

    edges: npt.NDArray[np.float32]

    @classmethod
    def of(cls, values: npt.NDArray[np.float32]) -> Bins:
        """Lay the bins by a reference [R], so that each holds a tenth of it, or one value that is more than a tenth."""
        known = values[~np.isnan(values)]
        if not len(known):
            return cls(edges=np.empty(0, np.float32))
        deciles = np.quantile(known, np.linspace(0.1, 0.9, 9), method="lower").astype(np.float32)
        below = np.nextafter(known.min(), np.float32(-np.inf))
        return cls(edges=np.unique(np.concatenate([[below], deciles])))

    def __len__(self) -> int:
        """Count the bins."""
        return len(self.edges) + 2

    def count(self, values: npt.NDArray[np.float32]) -> Counts:
        """Count the values [R] in each bin; those that are missing stand last."""
        missing = np.isnan(values)
        counts = np.bincount(np.searchsorted(self.edges, values[~missing]), minlength=len(self))
        counts[-1] = missing.sum()
        return counts


def stability_index(reference: Counts, now: Counts) -> float:
    """Return the population stability index of counts by bin, half a value added to each so that none is empty.

    ``sum((q - p) * ln(q / p))``: below 0.1 nothing, beyond 0.25 another distribution, as the convention goes. Bins
    that are empty on both sides say nothing.
    """
    used = (reference + now) > 0
    p, q = (np.add(counts[used], 0.5) for counts in (reference, now))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((q - p) * np.log(q / p)))


class Drift:
    """Measures a table's columns against its first ``reference`` lists; for one thread at a time.

    The window is the last hour, in parts of five minutes; it begins when the reference is complete.
    """

    def __init__(
        self,
        columns: Sequence[int],
        *,
        reference: int,
        window_s: float = WINDOW_S,
        fewest: int = _FEWEST_LISTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reference_lists = 0
        self._columns = np.asarray(columns, np.intp)
        self._wanted, self._fewest = reference, fewest
        self._slot_s, self._clock = window_s / _SLOTS, clock
        self._first: list[npt.NDArray[np.float32]] = []
        self._bins: list[Bins] = []
        self._reference: list[Counts] = []
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def add(self, table: npt.NDArray[np.float32]) -> None:
        """Take one list's table [N, C] into the reference, or into the window once that is complete."""
        if not len(table):
            return
        places = np.linspace(0, len(table) - 1, min(len(table), _ROWS_PER_LIST)).astype(np.intp)
        rows = table[places][:, self._columns]
        if self.reference_lists < self._wanted:
            self._first.append(rows)
            self.reference_lists += 1
            if self.reference_lists == self._wanted:
                self._lay_bins(np.concatenate(self._first))
            return
        number = int(self._clock() / self._slot_s)
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number, [np.zeros(len(bins), np.int64) for bins in self._bins]))
        self._slots[-1].add(self._counted(rows))

    @property
    def window_lists(self) -> int:
        """Count the lists of the window."""
        return sum(slot.lists for slot in self._current())

    def indices(self) -> list[float]:
        """Return each column's stability index; none while the window holds too few lists to say anything."""
        slots = self._current()
        if sum(slot.lists for slot in slots) < self._fewest:
            return []
        now = [np.sum(counts, axis=0) for counts in zip(*(slot.counts for slot in slots), strict=True)]
        return [stability_index(before, counts) for before, counts in zip(self._reference, now, strict=True)]

    def _lay_bins(self, rows: npt.NDArray[np.float32]) -> None:
        self._bins = [Bins.of(column) for column in rows.T]
        self._reference = self._counted(rows)
        self._first = []

    def _counted(self, rows: npt.NDArray[np.float32]) -> list[Counts]:
        return [bins.count(column) for bins, column in zip(self._bins, rows.T, strict=True)]

    def _current(self) -> list[_Slot]:
        oldest = int(self._clock() / self._slot_s) - _SLOTS
        return [slot for slot in self._slots if slot.number > oldest]


class _Slot:
    """What was counted in one part of the window."""

    def __init__(self, number: int, counts: list[Counts]) -> None:
        self.number, self.counts, self.lists = number, counts, 0

    def add(self, counts: list[Counts]) -> None:
        self.counts = [before + more for before, more in zip(self.counts, counts, strict=True)]
        self.lists += 1
