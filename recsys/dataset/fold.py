"""Folds the long form of impressions, one row per item shown, into one row per list."""

from __future__ import annotations

import polars as pl


def is_long(names: list[str]) -> bool:
    """Tell the long form by its column of single items."""
    return "item_id" in names and "item_ids" not in names


def fold(rows: pl.DataFrame) -> pl.DataFrame:
    """Gather the rows of each list in the order of ``position``; everything else is the same in all rows of a list."""
    of_the_list = [name for name in rows.columns if name not in {"request_id", "item_id", "clicked", "position"}]
    return (
        rows.sort("request_id", "position")
        .group_by("request_id", maintain_order=True)
        .agg(pl.col("item_id").alias("item_ids"), "clicked", pl.col(of_the_list).first())
    )
