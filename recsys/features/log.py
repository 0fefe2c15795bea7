"""Columnar logs that answer "how often, strictly before this moment?" for many keys at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountLog:
    """Running totals of events by dense key code and tick; a tick is a moment's place on the state's time axis.

    ``order`` holds ``key * span + step``, ascending, a step being ``stride`` ticks; shape [N]. ``totals`` are running
    sums over that order of W counted things, from zero; shape [N + 1, W]. ``starts`` says where each key begins; shape
    [keys + 1]. Sums are integers, so that the difference of two totals is exact. A ``stride`` above 1 keeps a long log
    small: a moment then sees the steps that are complete; the log's end completes its last one.
    """

    order: Ints
    totals: Ints
    starts: Ints
    span: int
    stride: int
    lead: int

    @classmethod
    def build(cls, events: pl.DataFrame, *, keys: int, ticks: int, counted: Sequence[str], stride: int = 1) -> CountLog:
        """Sort and sum ``events``: ``key`` (below ``keys``), ``tick`` (below ``ticks``) and the counted columns."""
        lead = -ticks % stride
        span = (ticks + lead) // stride + 1
        place = pl.col("key").cast(pl.Int64) * span + (pl.col("tick").cast(pl.Int64) + lead) // stride
        frame = (
            events.lazy()
            .group_by(place.alias("order"))
            .agg(pl.col(counted).cast(pl.Int64).sum())
            .sort("order")
            .collect()
        )
        totals = np.zeros((frame.height + 1, len(counted)), np.int64)
        for column, name in enumerate(counted):
            np.cumsum(frame[name].to_numpy(), out=totals[1:, column])
        order = frame["order"].to_numpy()
        starts = np.searchsorted(order, np.arange(keys + 1) * span).astype(np.int64)
        return cls(order=order, totals=totals, starts=starts, span=span, stride=stride, lead=lead)

    def before(self, keys: Codes, ticks: Ints, since: Ints | None = None) -> Ints:
        """Count each key's events with ``since <= tick < ticks``; a negative key counts nothing; shape [..., W]."""
        known = np.maximum(keys, 0).astype(np.int64)
        if self.starts.size < 2:
            return np.zeros((*keys.shape, self.totals.shape[1]), np.int64)
        low = self.starts[known] if since is None else self._place(known, since)
        found = self.totals[self._place(known, ticks)] - self.totals[low]
        found[keys < 0] = 0
        return found

    def newest(self, keys: Codes, ticks: Ints) -> Ints:
        """Return the tick of each key's last event before ``ticks``, -1 where there is none; needs a stride of 1."""
        if not self.order.size:
            return np.full(keys.shape, -1, np.int64)
        known = np.maximum(keys, 0).astype(np.int64)
        place = self._place(known, ticks)
        exists = (keys >= 0) & (place > self.starts[known])
        return np.where(exists, self.order[place - 1] - known * self.span, -1)

    def _place(self, keys: Ints, ticks: Ints) -> Ints:
        steps = (ticks + self.lead) // self.stride
        if steps.size and steps.min() >= self.span - 1:  # after every event, as in serving: no need to search
            return self.starts[keys + 1]
        return np.searchsorted(self.order, keys * self.span + steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLog:
    """A count log over pairs of items; ``pairs`` are the known ``smaller * items + larger`` codes, ascending."""

    pairs: Ints
    counts: CountLog
    items: int

    def before(self, left: Codes, right: Codes, ticks: Ints) -> Ints:
        """Count the events of each unordered pair strictly before ``ticks``; negative codes count nothing."""
        small, large = np.minimum(left, right).astype(np.int64), np.maximum(left, right).astype(np.int64)
        if not self.pairs.size:
            return np.zeros(small.shape, np.int64)
        pair = small * self.items + large
        place = np.minimum(np.searchsorted(self.pairs, pair), self.pairs.size - 1)
        known = (small >= 0) & (self.pairs[place] == pair)
        return self.counts.before(np.where(known, place, -1), ticks)[..., 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLog:
    """What each user did, in order: ``order`` is ``user * span + tick``, ties in the order of the build; shape [N]."""

    order: Ints
    items: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int8]
    span: int

    @property
    def ticks(self) -> Ints:
        """When each action happened, as ticks; shape [N]."""
        return self.order % self.span

    def newest(self, users: Codes, ticks: Ints, length: int) -> Ints:
        """Return where each user's last ``length`` actions before ``ticks`` stand, newest first, -1 padded; [L, H]."""
        base = users.astype(np.int64) * self.span
        stop = np.searchsorted(self.order, base + ticks)
        start = np.searchsorted(self.order, base)
        places = stop[:, None] - 1 - np.arange(length)
        return np.where((places >= start[:, None]) & (users >= 0)[:, None], places, -1)
