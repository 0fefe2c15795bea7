"""Columnar logs that answer "how often, strictly before this moment?" for many keys at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountLog:
    """Running totals of events by dense key code and tick; a tick is a moment's place on the state's time axis.

    ``order`` holds ``key * span + tick``, ascending; shape [N]. ``totals`` are running sums over that order of W
    counted things, from zero; shape [N + 1, W]. Sums are integers, so that a difference of two totals is exact.
    """

    order: Ints
    totals: Ints
    span: int

    @classmethod
    def build(cls, events: pl.DataFrame, *, span: int, counted: Sequence[str]) -> CountLog:
        """Sort and sum ``events``, which has the columns ``key``, ``tick`` and the counted ones."""
        frame = (
            events.lazy()
            .group_by((pl.col("key").cast(pl.Int64) * span + pl.col("tick").cast(pl.Int64)).alias("order"))
            .agg(pl.col(counted).cast(pl.Int64).sum())
            .sort("order")
            .collect()
        )
        totals = np.zeros((frame.height + 1, len(counted)), np.int64)
        for column, name in enumerate(counted):
            np.cumsum(frame[name].to_numpy(), out=totals[1:, column])
        return cls(order=frame["order"].to_numpy(), totals=totals, span=span)

    def before(self, keys: npt.NDArray[np.integer], ticks: Ints, since: Ints | None = None) -> Ints:
        """Count each key's events with ``since <= tick < ticks``; a negative key counts nothing; shape [..., W]."""
        base = keys.astype(np.int64) * self.span
        high = np.searchsorted(self.order, base + ticks)
        low = np.searchsorted(self.order, base if since is None else base + since)
        found = self.totals[high] - self.totals[low]
        found[keys < 0] = 0
        return found

    def newest(self, keys: npt.NDArray[np.integer], ticks: Ints) -> Ints:
        """Return the tick of each key's last event before ``ticks``, -1 where there is none."""
        if not self.order.size:
            return np.full(keys.shape, -1, np.int64)
        base = keys.astype(np.int64) * self.span
        last = self.order[np.searchsorted(self.order, base + ticks) - 1] - base
        return np.where((keys >= 0) & (last >= 0) & (last < ticks), last, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLog:
    """A count log over pairs of items; ``pairs`` are the known ``small * items + large`` codes, ascending."""

    pairs: Ints
    counts: CountLog
    items: int

    def before(self, left: npt.NDArray[np.integer], right: npt.NDArray[np.integer], ticks: Ints) -> Ints:
        """Count the events of each unordered pair strictly before ``ticks``; negative codes count nothing."""
        wide = left.astype(np.int64), right.astype(np.int64)
        pair = np.minimum(*wide) * self.items + np.maximum(*wide)
        if not self.pairs.size:
            return np.zeros(pair.shape, np.int64)
        place = np.minimum(np.searchsorted(self.pairs, pair), self.pairs.size - 1)
        known = (np.minimum(*wide) >= 0) & (self.pairs[place] == pair)
        return self.counts.before(np.where(known, place, -1), ticks)[..., 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLog:
    """What each user did, in order: ``order`` is ``user * span + tick``; ties keep the order of the build; shape [N]."""

    order: Ints
    items: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int8]
    span: int

    @property
    def ticks(self) -> Ints:
        """When, as ticks; shape [N]."""
        return self.order % self.span

    def newest(self, users: npt.NDArray[np.integer], ticks: Ints, length: int) -> Ints:
        """Return the places of each user's last ``length`` actions before ``ticks``, newest first, -1 padded; [L, H]."""
        base = users.astype(np.int64) * self.span
        stop = np.searchsorted(self.order, base + ticks)
        start = np.searchsorted(self.order, base)
        places = stop[:, None] - 1 - np.arange(length)
        return np.where((places >= start[:, None]) & (users >= 0)[:, None], places, -1)
