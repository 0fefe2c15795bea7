"""From impression and event tables to the logs that the features look into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.catalog import Catalog
from recsys.features.log import ActionLog, CountLog, Ints, PairLog
from recsys.schema import ACTION_CODE, ACTIONS

# Expected clicks are counted in millionths, so that sums stay exact.
MICRO = 1_000_000
# How many of a user's earlier clicks a click is paired with.
PAIRED_CLICKS = 20
DISLIKED = ("skip", "hide")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """All that is known of the past. ``axis`` names each tick's moment in UTC microseconds, ascending; shape [T].

    ``overall``, ``items`` and ``positions`` count views, clicks (``items`` also expected micro-clicks); ``users`` counts
    views and clicks; ``values`` counts views and clicks by the value codes of each attribute.
    """

    axis: Ints
    overall: CountLog
    items: CountLog
    users: CountLog
    liked: ActionLog
    disliked: ActionLog
    pairs: PairLog


def shown_rows(impressions: pl.DataFrame, catalog: Catalog) -> pl.DataFrame:
    """Unfold lists into one row per item shown: user_id, ts, position, item (catalog row), clicked."""
    known = pl.DataFrame({"item_id": catalog.ids, "item": np.arange(len(catalog), dtype=np.int32)})
    return (
        impressions.lazy()
        .select(
            "user_id",
            pl.col("ts").dt.epoch("us"),
            pl.int_ranges(pl.col("item_ids").list.len()).alias("position"),
            pl.col("item_ids").alias("item_id"),
            "clicked",
        )
        .explode("position", "item_id", "clicked", empty_as_null=False)
        .join(known.lazy(), on="item_id", how="left", maintain_order="left")
        .filter(pl.col("item").is_not_null())
        .select("user_id", "ts", "position", "item", pl.col("clicked").cast(pl.Int64))
        .collect()
    )


def other_actions(events: pl.DataFrame, catalog: Catalog) -> pl.DataFrame:
    """Encode an events table: user_id, ts, item (catalog row), action (code); unknown types are "other"."""
    known = pl.DataFrame({"item_id": catalog.ids, "item": np.arange(len(catalog), dtype=np.int32)})
    codes = {name: code for name, code in ACTION_CODE.items() if name in ACTIONS[1:]}
    return (
        events.lazy()
        .join(known.lazy(), on="item_id", maintain_order="left")
        .select(
            "user_id",
            pl.col("ts").dt.epoch("us"),
            "item",
            pl.col("type").replace_strict(codes, default=ACTION_CODE["other"], return_dtype=pl.Int8).alias("action"),
        )
        .collect()
    )


def with_expected_clicks(shown: pl.DataFrame, span: int) -> pl.DataFrame:
    """Add ``expected``: the click rate of the position where the item stood, from strictly earlier lists, in millionths."""
    keyed = shown.select(pl.col("position").alias("key"), "tick", pl.lit(1).alias("views"), "clicked")
    log = CountLog.build(keyed, span=span, counted=("views", "clicked"))
    views, clicks = log.before(shown["position"].to_numpy(), shown["tick"].to_numpy()).T
    overall = CountLog.build(keyed.with_columns(pl.lit(0).alias("key")), span=span, counted=("views", "clicked"))
    all_views, all_clicks = overall.before(np.zeros(shown.height, np.int64), shown["tick"].to_numpy()).T
    prior = (all_clicks + 1) / (all_views + 10)
    rate = (clicks + 100 * prior) / (views + 100)
    return shown.with_columns(pl.Series("expected", np.rint(rate * MICRO).astype(np.int64)))


def action_log(actions: pl.DataFrame, span: int) -> ActionLog:
    """Order rows of user, tick, place, item, action by user and time."""
    ordered = actions.sort("user", "tick", "place", "item", "action")
    return ActionLog(
        order=(ordered["user"].cast(pl.Int64) * span + ordered["tick"].cast(pl.Int64)).to_numpy(),
        items=ordered["item"].cast(pl.Int32).to_numpy(),
        actions=ordered["action"].cast(pl.Int8).to_numpy(),
        span=span,
    )


def pair_log(liked: ActionLog, items: int) -> PairLog:
    """Pair each click with the same user's up to ``PAIRED_CLICKS`` earlier ones, at the later one's tick."""
    users, ticks = liked.order // liked.span, liked.ticks
    left, right, when = [], [], []
    for lag in range(1, PAIRED_CLICKS + 1):
        paired = (users[lag:] == users[:-lag]) & (liked.items[lag:] != liked.items[:-lag])
        left.append(liked.items[lag:][paired])
        right.append(liked.items[:-lag][paired])
        when.append(ticks[lag:][paired])
    a, b, tick = (np.concatenate(part).astype(np.int64) for part in (left, right, when))
    pair = np.minimum(a, b) * items + np.maximum(a, b)
    pairs, key = np.unique(pair, return_inverse=True)
    events = pl.DataFrame({"key": key, "tick": tick, "clicks": np.ones(key.size, np.int64)})
    return PairLog(pairs=pairs, counts=CountLog.build(events, span=liked.span, counted=("clicks",)), items=items)
