"""From impression and event tables to the logs that the features look into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from recsys.catalog import Catalog
from recsys.features.attributes import Values
from recsys.features.log import ActionLog, CountLog, Ints, PairLog
from recsys.schema import ACTION_CODE

# Expected clicks are counted in millionths, so that their sums stay exact.
MICRO = 1_000_000
# How many of a user's earlier clicks each click is paired with.
PAIRED_CLICKS = 20
# How many steps of time the counters of attribute values keep: they are many, and change slowly.
VALUE_STEPS = 256
DISLIKES = (ACTION_CODE["skip"], ACTION_CODE["hide"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What happened. ``axis`` gives each tick's moment in UTC microseconds, ascending; shape [T].

    ``overall``, ``users`` and ``values`` count views and clicks; ``items`` also counts expected micro-clicks.
    ``liked`` holds clicks and other welcome actions, ``disliked`` what was shown and not clicked, or hidden.
    """

    axis: Ints
    overall: CountLog
    items: CountLog
    users: CountLog
    values: CountLog
    pairs: PairLog
    liked: ActionLog
    disliked: ActionLog


def build_logs(
    catalog: Catalog, users: list[str], values: Values, impressions: pl.DataFrame, events: pl.DataFrame | None
) -> Logs:
    """Encode and sort all events; rows of items that the catalog does not know are left out."""
    items = pl.LazyFrame({"item_id": catalog.ids, "item": np.arange(len(catalog), dtype=np.int32)})
    people = pl.LazyFrame({"user_id": users, "user": np.arange(len(users), dtype=np.int32)}, schema_overrides=_USER)
    shown = _shown_rows(impressions.lazy(), items, people)
    others = None if events is None else _other_actions(events.lazy(), items, people)
    moments = [shown["ts"]] if others is None else [shown["ts"], others["ts"]]
    axis = np.unique(np.concatenate([part.to_numpy() for part in moments]))
    ticks = axis.size
    shown = shown.with_columns(pl.Series("tick", np.searchsorted(axis, shown["ts"].to_numpy())))
    shown = _with_expected_clicks(shown, ticks)
    actions = shown.select(
        "user",
        "tick",
        "position",
        "item",
        pl.when("clicked").then(ACTION_CODE["click"]).otherwise(ACTION_CODE["skip"]).cast(pl.Int8).alias("action"),
    )
    if others is not None:
        tick = pl.Series("tick", np.searchsorted(axis, others["ts"].to_numpy()))
        actions = pl.concat(
            [actions, others.select("user", tick, pl.lit(0, pl.Int64).alias("position"), "item", "action")]
        )
    actions = actions.filter(pl.col("user").is_not_null())
    liked = _action_log(actions.filter(~pl.col("action").is_in(DISLIKES)), ticks)
    known = shown.filter(pl.col("user").is_not_null())
    pair: Any = {"ticks": ticks, "counted": ("views", "clicked")}
    return Logs(
        axis=axis,
        overall=CountLog.build(shown.with_columns(pl.lit(0).alias("key")), keys=1, **pair),
        items=CountLog.build(
            shown.rename({"item": "key"}), keys=len(catalog), ticks=ticks, counted=("views", "clicked", "expected")
        ),
        users=CountLog.build(known.rename({"user": "key"}), keys=len(users), **pair),
        values=_value_log(shown, values, ticks),
        pairs=_pair_log(liked, len(catalog)),
        liked=liked,
        disliked=_action_log(actions.filter(pl.col("action").is_in(DISLIKES)), ticks),
    )


_USER = {"user_id": pl.String}


def _shown_rows(impressions: pl.LazyFrame, items: pl.LazyFrame, people: pl.LazyFrame) -> pl.DataFrame:
    """Unfold lists into one row per item shown: user, ts, position, item, clicked, views."""
    return (
        impressions.select(
            "user_id",
            pl.col("ts").dt.epoch("us"),
            pl.int_ranges(pl.col("item_ids").list.len()).alias("position"),
            pl.col("item_ids").alias("item_id"),
            "clicked",
        )
        .join(people, on="user_id", how="left", maintain_order="left")
        .explode("position", "item_id", "clicked", empty_as_null=False)
        .join(items, on="item_id", maintain_order="left")
        .select("user", "ts", "position", "item", "clicked", pl.lit(1).alias("views"))
        .collect()
    )


def _other_actions(events: pl.LazyFrame, items: pl.LazyFrame, people: pl.LazyFrame) -> pl.DataFrame:
    """Encode an events table: user, ts, item, action; a type that has no code is "other"."""
    codes = {name: code for name, code in ACTION_CODE.items() if name != "pad"}
    action = pl.col("type").replace_strict(codes, default=ACTION_CODE["other"], return_dtype=pl.Int8)
    return (
        events.join(items, on="item_id", maintain_order="left")
        .join(people, on="user_id", how="left", maintain_order="left")
        .select("user", pl.col("ts").dt.epoch("us"), "item", action.alias("action"))
        .collect()
    )


def _with_expected_clicks(shown: pl.DataFrame, ticks: int) -> pl.DataFrame:
    """Add ``expected``: the click rate of the position where the item stood, from strictly earlier lists."""
    keyed = shown.select(pl.col("position").alias("key"), "tick", "views", "clicked")
    positions, when = keyed["key"].to_numpy(), keyed["tick"].to_numpy()
    counted = ("views", "clicked")
    log = CountLog.build(keyed, keys=int(positions.max(initial=0)) + 1, ticks=ticks, counted=counted)
    overall = CountLog.build(keyed.with_columns(pl.lit(0).alias("key")), keys=1, ticks=ticks, counted=counted)
    views, clicks = log.before(positions, when).T
    all_views, all_clicks = overall.before(np.zeros_like(positions), when).T
    rate = (clicks + 100 * (all_clicks + 1) / (all_views + 10)) / (views + 100)
    return shown.with_columns(pl.Series("expected", np.rint(rate * MICRO).astype(np.int64)))


def _action_log(actions: pl.DataFrame, ticks: int) -> ActionLog:
    ordered = actions.sort("user", "tick", "position", "item", "action")
    span = ticks + 1
    return ActionLog(
        order=(ordered["user"].cast(pl.Int64) * span + ordered["tick"].cast(pl.Int64)).to_numpy(),
        items=ordered["item"].to_numpy(),
        actions=ordered["action"].to_numpy(),
        span=span,
    )


def _value_log(shown: pl.DataFrame, values: Values, ticks: int) -> CountLog:
    """Count by attribute value, one column of values at a time: the rows of all of them would not fit into memory."""
    counted = pl.col("views", "clicked").sum()
    stride = -(-ticks // VALUE_STEPS) or 1
    lead = -ticks % stride
    step = (pl.col("tick") + lead) // stride * stride - lead
    rows = shown.group_by("item", "tick").agg(counted)
    parts = [
        rows.with_columns(pl.Series("key", column[rows["item"].to_numpy()]))
        .filter(pl.col("key") >= 0)
        .group_by("key", step)
        .agg(counted)
        for column in values.codes.T
    ]
    return CountLog.build(pl.concat(parts), keys=values.size, ticks=ticks, counted=("views", "clicked"), stride=stride)


def _pair_log(liked: ActionLog, items: int) -> PairLog:
    """Pair each action with the same user's up to ``PAIRED_CLICKS`` earlier ones, at the later one's tick."""
    users, ticks = liked.order // liked.span, liked.ticks
    pairs, when = [], []
    for lag in range(1, PAIRED_CLICKS + 1):
        later, earlier = liked.items[lag:].astype(np.int64), liked.items[:-lag].astype(np.int64)
        paired = (users[lag:] == users[:-lag]) & (later != earlier)
        pairs.append((np.minimum(later, earlier) * items + np.maximum(later, earlier))[paired])
        when.append(ticks[lag:][paired])
    known, key = np.unique(np.concatenate(pairs), return_inverse=True)
    events = pl.DataFrame({"key": key, "tick": np.concatenate(when)}).with_columns(pl.lit(1).alias("clicks"))
    counts = CountLog.build(events, keys=known.size, ticks=liked.span - 1, counted=("clicks",))
    return PairLog(pairs=known, counts=counts, items=items)
