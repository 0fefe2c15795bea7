"""Lists of items to be scored, as columns: the one form that training, evaluation and serving hand to the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog
from recsys.schema import ACTION_CODE, HistoryEntry, RankRequest

_CLICK = ACTION_CODE["click"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenHistory:
    """A history that came with the list, oldest first: rows (-1 unknown), action codes, UTC µs (0 unknown)."""

    rows: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int8]
    ts: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """L lists of R items in all; list ``l`` holds ``item_rows[offsets[l]:offsets[l + 1]]``, in shown order.

    ``item_rows`` are rows of the catalog, -1 for an item that it does not know. ``ts`` are UTC microseconds.
    ``histories[l]`` replaces what is known of the user; None where the log is to be asked.
    """

    user_ids: list[str]
    ts: npt.NDArray[np.int64]
    item_rows: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    histories: list[GivenHistory | None]
    queries: list[str]
    surfaces: list[str]

    def __len__(self) -> int:
        """Count the lists."""
        return len(self.user_ids)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Count the items of each list; shape [L]."""
        return np.diff(self.offsets)

    @property
    def list_of_row(self) -> npt.NDArray[np.int64]:
        """Name the list that each item stands in; shape [R]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def rows_of(self, numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return where the items of some lists stand, list after list."""
        lengths = self.lengths[numbers]
        begins = np.cumsum(lengths) - lengths
        rows: npt.NDArray[np.int64] = np.repeat(self.offsets[:-1][numbers] - begins, lengths) + np.arange(lengths.sum())
        return rows

    def part(self, begin: int, end: int) -> Self:
        """Return the lists from ``begin`` up to ``end``, sharing their arrays."""
        first, last = int(self.offsets[begin]), int(self.offsets[end])
        return type(self)(
            user_ids=self.user_ids[begin:end],
            ts=self.ts[begin:end],
            item_rows=self.item_rows[first:last],
            offsets=self.offsets[begin : end + 1] - first,
            histories=self.histories[begin:end],
            queries=self.queries[begin:end],
            surfaces=self.surfaces[begin:end],
        )

    def take(self, numbers: npt.NDArray[np.integer]) -> Self:
        """Return some of the lists, in the order of ``numbers``."""
        chosen = numbers.tolist()
        return type(self)(
            user_ids=[self.user_ids[number] for number in chosen],
            ts=self.ts[numbers],
            item_rows=self.item_rows[self.rows_of(numbers)],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[numbers])]).astype(np.int64),
            histories=[self.histories[number] for number in chosen],
            queries=[self.queries[number] for number in chosen],
            surfaces=[self.surfaces[number] for number in chosen],
        )

    @classmethod
    def from_impressions(cls, impressions: pl.DataFrame, catalog: Catalog) -> Self:
        """Encode an impressions table (see ``recsys.dataset``), keeping its order."""
        offsets = np.concatenate([[0], np.cumsum(impressions["item_ids"].list.len().to_numpy())]).astype(np.int64)
        given = impressions["history"]
        histories: list[GivenHistory | None] = [None] * len(given)
        if given.null_count() < len(given):
            histories = [None if ids is None else _clicked_earlier(ids, catalog) for ids in given.to_list()]
        return cls(
            user_ids=impressions["user_id"].to_list(),
            # Writable, for numba compiles what reads it once more where it is not.
            ts=impressions["ts"].dt.epoch("us").to_numpy(writable=True),
            item_rows=catalog.rows_of_column(impressions["item_ids"].explode(empty_as_null=False)),
            offsets=offsets,
            histories=histories,
            queries=impressions["query"].to_list(),
            surfaces=impressions["surface"].to_list(),
        )

    @classmethod
    def from_requests(cls, requests: Sequence[RankRequest], catalog: Catalog) -> Self:
        """Encode ranking requests, one list each."""
        ids = requests[0].item_ids if len(requests) == 1 else chain.from_iterable(each.item_ids for each in requests)
        return cls(
            user_ids=[each.user_id for each in requests],
            ts=np.array([each.ts for each in requests], np.int64),
            item_rows=catalog.rows(ids),
            offsets=np.array([0, *accumulate(len(each.candidates) for each in requests)], np.int64),
            histories=[None if each.history is None else _given(each.history, catalog) for each in requests],
            queries=[each.query for each in requests],
            surfaces=[each.surface for each in requests],
        )


def _given(history: Sequence[HistoryEntry], catalog: Catalog) -> GivenHistory:
    return GivenHistory(
        rows=catalog.rows(entry.item_id for entry in history),
        actions=np.array([ACTION_CODE[entry.action] for entry in history], dtype=np.int8),
        ts=np.array([entry.ts for entry in history], dtype=np.int64),
    )


def _clicked_earlier(item_ids: list[str], catalog: Catalog) -> GivenHistory:
    rows = catalog.rows(item_ids)
    return GivenHistory(rows=rows, actions=np.full(len(rows), _CLICK, np.int8), ts=np.zeros(len(rows), np.int64))
