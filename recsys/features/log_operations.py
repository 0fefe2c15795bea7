"""A slice of a stored log as operations: lists shown, the clicks on them, and other events, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.features.keys import NOBODY, Keys, Slots, keys_of
from recsys.features.learn import ACTED, CLICKED, SHOWN, Operations
from recsys.lists import Lists
from recsys.schema import ACTION_CODE

# Lists that are read from a file at a time.
_READ = 1 << 13
_CODES = {name: code for name, code in ACTION_CODE.items() if name != "pad"}


class PlacesKeys(Protocol):
    """What gives items and surfaces their slots: ``recsys.features.FeatureState``."""

    def item_slots(self, rows: Slots, strange: Keys | None = None) -> Slots:
        """Return the slots of catalog rows, placing the keys of strangers."""
        ...

    def surface_slots(self, surfaces: list[str], *, place: bool) -> Slots:
        """Return the slots of surfaces."""
        ...


def slices(impressions: pl.DataFrame | pl.LazyFrame, length: int) -> Iterator[pl.DataFrame]:
    """Cut a log that ascends by ``ts`` into slices of about ``length`` lists; no moment is cut in two."""
    rest: pl.DataFrame | None = None
    for read in _reads(impressions):
        frame = read if rest is None else pl.concat([rest, read])
        ts, begin = frame["ts"].dt.epoch("us").to_numpy(), 0
        # The last moment may go on in what is not read yet.
        whole = int(np.searchsorted(ts, ts[-1]))
        while begin < whole:
            end = min(begin + length, whole)
            end = min(int(np.searchsorted(ts, ts[end - 1], "right")), whole)
            yield frame[begin:end]
            begin = end
        rest = frame[whole:]
    if rest is not None:
        yield rest


def _reads(impressions: pl.DataFrame | pl.LazyFrame) -> Iterator[pl.DataFrame]:
    if isinstance(impressions, pl.DataFrame):
        if impressions.height:
            yield impressions
        return
    for frame in impressions.collect_batches(chunk_size=_READ, maintain_order=True):
        if frame.height:
            yield frame


def operations(
    state: PlacesKeys, impressions: pl.DataFrame, shown: Lists, events: pl.DataFrame, event_rows: Slots
) -> Operations:
    """Put impressions (as a table and as lists) and other events with their items' catalog rows into one order.

    At the same moment a list comes before the clicks on it, and lists before other events.
    """
    clicked = impressions["clicked"].explode(empty_as_null=False).to_numpy().astype(np.bool_)
    hits = np.flatnonzero(clicked)
    of_hit = shown.list_of_row[hits]
    lists, clicks, acts = len(shown), hits.size, events.height
    users = _user_keys(shown.user_ids)
    surfaces = state.surface_slots(shown.surfaces, place=True)
    rows = np.concatenate([shown.item_rows, event_rows])
    zeros = np.zeros
    act_ts = events["ts"].dt.epoch("us").to_numpy()
    action = events["type"].replace_strict(_CODES, default=ACTION_CODE["other"], return_dtype=pl.Int8).to_numpy()
    ts = np.concatenate([shown.ts, shown.ts[of_hit], act_ts])
    # Lists by number, each followed by its clicks; events behind all lists of their moment.
    number = np.concatenate([np.arange(lists), of_hit, np.full(acts, lists)])
    inner = np.concatenate([zeros(lists, np.int64), 1 + hits - shown.offsets[:-1][of_hit], np.arange(acts)])
    order = np.lexsort((inner, number, ts))
    first = np.concatenate([shown.offsets[:-1], hits, shown.item_rows.size + np.arange(acts)])
    last = np.concatenate([shown.offsets[1:], hits + 1, shown.item_rows.size + np.arange(1, acts + 1)])
    kinds = np.repeat(np.array([SHOWN, CLICKED, ACTED], np.int8), [lists, clicks, acts])
    place = np.concatenate([zeros(lists), hits - shown.offsets[:-1][of_hit], zeros(acts)]).astype(np.int32)
    codes = np.concatenate([zeros(lists + clicks, np.int8), action])
    return Operations(
        kind=kinds[order],
        ts=ts[order],
        user=np.concatenate([users, users[of_hit], _user_keys(events["user_id"].to_list())])[order],
        surface=np.concatenate([surfaces, surfaces[of_hit], np.full(acts, -1, np.int32)])[order],
        start=first[order],
        stop=last[order],
        shown_ts=ts[order],
        place=place[order],
        action=codes[order],
        item=state.item_slots(rows, _strangers(rows, impressions, events)),
        row=rows,
    )


def _user_keys(user_ids: list[str]) -> Keys:
    distinct = list(dict.fromkeys(user_ids))
    key = dict(zip(distinct, keys_of(distinct).tolist(), strict=True))
    return np.array([key[user_id] for user_id in user_ids], np.int64)


def _strangers(rows: npt.NDArray[np.int32], impressions: pl.DataFrame, events: pl.DataFrame) -> Keys | None:
    """Return the keys of the items that the catalog does not know, ``NOBODY`` for the others."""
    unknown = np.flatnonzero(rows < 0)
    if not unknown.size:
        return None
    ids = pl.concat([impressions["item_ids"].explode(empty_as_null=False).cast(pl.String), events["item_id"]])
    keys = np.full(rows.size, NOBODY, np.int64)
    keys[unknown] = keys_of(ids.gather(unknown).to_list())
    return keys
