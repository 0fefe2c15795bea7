"""How much memory an item and a user take, measured: a state of a million items, all of them shown, and of users.

The figures hold for any number: every row has one size. The catalog's own memory (ids, texts) and the item vectors come
on top and are measured too, so that a server of ten million items can be foretold.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from figures import Figure, arguments, console, tell
from made_log import START, Shop, item_table

from recsys.catalog import Catalog
from recsys.features import FeatureState
from recsys.features.keys import keys_of
from recsys.features.learn import SHOWN, Operations

DIMENSIONS = 256
LENGTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many items and users there are."""

    items: int
    users: int


FULL, QUICK = Effort(items=1_000_000, users=200_000), Effort(items=100_000, users=20_000)


def main() -> None:
    """Measure and tell."""
    options = arguments("Memory of the state, of a catalog's facts and of its vectors.").parse_args()
    effort = QUICK if options.quick else FULL
    steps = [("start", resident())]
    items = item_table(Shop(items=effort.items)).with_columns(
        ("A longer description of " + pl.col("title") + ", as shops write them.").alias("description")
    )
    catalog = Catalog(items)
    steps.append(("catalog", resident()))
    state = FeatureState(catalog)
    vectors = np.ones((effort.items, DIMENSIONS), np.float32)
    steps.append(("facts and vectors", resident()))
    with console.status("every item is shown, every user sees a list"):
        show_everything(state, effort)
    steps.append(("state", resident()))
    tables = state.bytes_by_table
    per_item = {name: (after - before) / effort.items for (_, before), (name, after) in pairwise(steps)}
    users = tables["users"][0] * tables["users"][1]
    per_item["state"] -= users / effort.items
    vector_bytes = vectors.nbytes / effort.items
    # What was never written takes no memory yet: the bound is the whole row, and its two cells of the index at most.
    whole = per_item["catalog"] + per_item["facts and vectors"] + tables["items"][1] + 48
    figures = {
        "item_row_bytes": Figure(value=tables["items"][1], unit="bytes", says="of one item in the state"),
        "user_row_bytes": Figure(value=tables["users"][1], unit="bytes", says="of one user"),
        "state_bytes_per_item": Figure(value=per_item["state"], unit="bytes", says="resident memory, index included"),
        "catalog_bytes_per_item": Figure(value=per_item["catalog"], unit="bytes", says="ids, texts, attributes"),
        "facts_and_vectors_bytes_per_item": Figure(
            value=per_item["facts and vectors"], unit="bytes", says=f"of which {vector_bytes:.0f} are the vector"
        ),
        "bytes_per_item": Figure(value=whole, unit="bytes", says="all of it, every row full"),
        "ten_million_items_gib": Figure(value=whole * 1e7 / 2**30, unit="GiB", says="without users"),
        "million_users_gib": Figure(value=tables["users"][1] * 1e6 / 2**30, unit="GiB", says="on top"),
    }
    tell(f"state_size: {effort.items:,} items, {effort.users:,} users", figures, options.json)


def show_everything(state: FeatureState, effort: Effort) -> None:
    """Show every item once, and a list to every user."""
    lists = max(effort.items // LENGTH, effort.users)
    rows = (np.arange(lists * LENGTH) % effort.items).astype(np.int32)
    users = keys_of(f"user-{number % effort.users}" for number in range(lists))
    for begin in range(0, lists, 10_000):
        end = min(begin + 10_000, lists)
        part, count = rows[begin * LENGTH : end * LENGTH], end - begin
        state.learn(
            Operations(
                kind=np.full(count, SHOWN, np.int8),
                ts=START + np.arange(begin, end) * 1_000_000,
                user=users[begin:end],
                surface=np.full(count, -1, np.int32),
                start=np.arange(count) * LENGTH,
                stop=np.arange(1, count + 1) * LENGTH,
                shown_ts=START + np.arange(begin, end) * 1_000_000,
                place=np.zeros(count, np.int32),
                action=np.zeros(count, np.int8),
                item=state.item_slots(part),
                row=part,
            )
        )


def resident() -> int:
    """Return this process's memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
