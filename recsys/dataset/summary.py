"""Says in figures what a dataset holds."""

from __future__ import annotations

from typing import Any

import polars as pl

from recsys.dataset.columns import ITEMS
from recsys.dataset.reading import Dataset


def describe(dataset: Dataset) -> dict[str, Any]:
    """Count a dataset's rows, dates, clicks and list lengths; every value can be written as JSON."""
    declared = {column.name for column in ITEMS}
    items, lists, events = dataset.items, dataset.impressions, dataset.events
    lengths = lists["item_ids"].list.len()
    clicks = lists.select(pl.col("clicked").list.sum()).to_series()
    shown = lists["item_ids"].explode(empty_as_null=False)
    split = lists["split"].fill_null("unmarked").value_counts(sort=True)
    kinds = events["type"].value_counts(sort=True)
    return {
        "items": {
            "count": items.height,
            "shown": shown.n_unique(),
            "with_description": _share(items["description"] != ""),
            "categories": items["category"].n_unique(),
            "attributes": {name: str(items.schema[name]) for name in items.columns if name not in declared},
        },
        "impressions": {
            "lists": lists.height,
            "users": lists["user_id"].n_unique(),
            "first": lists["ts"][0].isoformat(),
            "last": lists["ts"][-1].isoformat(),
            "items_shown": shown.len(),
            "clicks": int(clicks.sum()),
            "click_rate": int(clicks.sum()) / shown.len(),
            "list_length": {"min": lengths.min(), "median": lengths.median(), "max": lengths.max()},
            "without_click": int((clicks == 0).sum()),
            "with_both": int(((clicks > 0) & (clicks < lengths)).sum()),
            "with_query": _share(lists["query"] != ""),
            "with_history": _share(lists["history"].is_not_null()),
            "split": dict(split.iter_rows()),
        },
        "events": {"count": events.height, "types": dict(kinds.iter_rows())},
    }


def _share(mask: pl.Series) -> float:
    return int(mask.sum()) / mask.len()
