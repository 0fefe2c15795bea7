"""What a ranking has to beat: popularity, the order in which the items were shown, and chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

# The smoothed click rate of an item starts as if it had been shown this often and clicked at the average rate.
PRIOR_VIEWS = 10.0


def popularity(impressions: pl.DataFrame, lists: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Score the items of ``lists`` by their smoothed click rate at that time; shape [R].

    Counted are the lists of ``impressions`` strictly earlier in time, so a list never counts itself, nor one shown at
    the same moment. An item not seen before has the click rate of all items until then.
    """
    shown = impressions.select("ts", item_id="item_ids", clicked="clicked").explode(
        "item_id", "clicked", empty_as_null=False
    )
    per_moment = shown.group_by("item_id", "ts").agg(views=pl.len(), clicks=pl.col("clicked").sum()).sort("ts")
    until = per_moment.with_columns(pl.col("views", "clicks").cum_sum().over("item_id"))
    overall = (
        per_moment.group_by("ts", maintain_order=True)
        .agg(pl.col("views", "clicks").sum())
        .select("ts", all_views=pl.col("views").cum_sum(), all_clicks=pl.col("clicks").cum_sum())
    )
    asked = (
        lists.select("ts", item_id="item_ids").explode("item_id", empty_as_null=False).with_row_index("row").sort("ts")
    )
    counted = (
        # All three frames are sorted by ts; polars cannot check that within items, and would warn.
        asked.join_asof(until, on="ts", by="item_id", allow_exact_matches=False, check_sortedness=False)
        .join_asof(overall, on="ts", allow_exact_matches=False)
        .with_columns(pl.col("views", "clicks", "all_views", "all_clicks").fill_null(0))
    )
    # Before the first list nothing is known: all items then score 0 alike.
    average = pl.col("all_clicks") / pl.max_horizontal("all_views", 1)
    rate = (pl.col("clicks") + PRIOR_VIEWS * average) / (pl.col("views") + PRIOR_VIEWS)
    return counted.sort("row").select(rate=rate)["rate"].to_numpy()


def shown_order(lists: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Score items so that they keep the order in which they were shown; shape [R]."""
    lengths = lists["item_ids"].list.len().to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    return (np.repeat(starts, lengths) - np.arange(lengths.sum())).astype(np.float64)


def chance(lists: pl.DataFrame, *, seed: int) -> npt.NDArray[np.float64]:
    """Score items at random; shape [R]."""
    return np.random.default_rng(seed).random(int(lists["item_ids"].list.len().sum()))
