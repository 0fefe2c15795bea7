"""A large log of a made shop, written as it is drawn; its clicks are drawn blindly, so it is good for speed alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

START = 1_735_689_600_000_000  # 2025-01-01
DAY = 86_400_000_000
_PART = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """How large the shop is; lists are spread evenly over the days, few items and users are in most of them."""

    items: int = 50_000
    users: int = 20_000
    lists: int = 500_000
    list_length: int = 20
    days: int = 60
    click_rate: float = 0.06


def item_table(shop: Shop, seed: int = 0) -> pl.DataFrame:
    """Draw items with a category, tags, a brand and a price."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(shop.items)
    return pl.DataFrame(
        {
            "item_id": [f"item-{number}" for number in numbers],
            "title": [f"Item {number}" for number in numbers],
            "description": "",
            "category": [f"category {each}" for each in rng.integers(0, 200, shop.items)],
            "tags": [[f"tag {each}" for each in row] for row in rng.integers(0, 400, (shop.items, 3))],
            "published_at": pl.Series(START - rng.integers(0, 300, shop.items) * DAY).cast(pl.Datetime("us", "UTC")),
            "brand": [f"brand {each}" for each in rng.integers(0, 1_000, shop.items)],
            "price": np.round(rng.gamma(2, 20, shop.items), 2),
        }
    )


def write_log(shop: Shop, folder: Path, seed: int = 0) -> pl.LazyFrame:
    """Write the lists in parts of one file each, so that no length of log needs more memory; returns them all."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for part, begin in enumerate(range(0, shop.lists, _PART)):
        lists = min(_PART, shop.lists - begin)
        _lists(shop, begin, lists, rng).write_parquet(folder / f"impressions-{part:05}.parquet")
    return pl.scan_parquet(folder / "impressions-*.parquet")


def _lists(shop: Shop, begin: int, lists: int, rng: np.random.Generator) -> pl.DataFrame:
    rows = lists * shop.list_length
    spacing = shop.days * DAY / shop.lists
    ts = START + ((begin + np.arange(lists) + rng.random(lists)) * spacing).astype(np.int64)
    users = _popular(rng, shop.users, lists)
    # A stride from a popular item on: no item stands twice in a list, and some are shown far more often than others.
    first, stride = _popular(rng, shop.items, lists), rng.integers(1, shop.items // shop.list_length, lists)
    items = (first[:, None] + stride[:, None] * np.arange(shop.list_length)) % shop.items
    frame = pl.DataFrame(
        {
            "list": np.repeat(np.arange(lists), shop.list_length),
            "item_ids": items.ravel(),
            "clicked": rng.random(rows) < shop.click_rate,
        }
    ).with_columns(("item-" + pl.col("item_ids").cast(pl.String)).alias("item_ids"))
    folded = frame.group_by("list", maintain_order=True).agg("item_ids", "clicked").drop("list")
    return folded.select(
        pl.Series("request_id", [f"r{begin + number}" for number in range(lists)]),
        pl.Series("user_id", [f"user-{user}" for user in users]),
        pl.Series("ts", np.sort(ts)).cast(pl.Datetime("us", "UTC")),
        "item_ids",
        "clicked",
        pl.lit("").alias("query"),
        pl.lit(None, pl.List(pl.String)).alias("history"),
        pl.lit("home").alias("surface"),
        pl.lit(1.0).alias("weight"),
    )


def _popular(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Draw numbers below ``size``, small ones most."""
    return np.minimum((size * rng.random(count) ** 3).astype(np.int64), size - 1)
