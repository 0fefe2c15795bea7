"""Parts of the test lists that deserve their own figures: new items, new users, the long tail, short and long lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Test lists that have something in common: what, in words and as an expression over ``facts``."""

    title: str
    says: str
    holds: pl.Expr


# Name -> slice. The name is the key in every report.
SLICES: dict[str, Slice] = {
    "new_items": Slice(
        title="new items",
        says="a clicked item occurs nowhere in training, neither shown nor in a history",
        holds=pl.col("new_clicks") > 0,
    ),
    "seen_items": Slice(
        title="seen items",
        says="every clicked item occurs in training, shown or in a history",
        holds=pl.col("new_clicks") == 0,
    ),
    "new_users": Slice(
        title="new users",
        says="the user has no list in training, and no history came with the list",
        holds=~pl.col("known_user") & ~pl.col("has_history"),
    ),
    "long_tail": Slice(
        title="long tail",
        says="at least half of the clicked items were shown in training no more often than the median item shown there",
        holds=pl.col("tail_clicks") * 2 >= pl.col("clicks"),
    ),
    "length_1_10": Slice(title="up to 10 items", says="lists of at most 10 items", holds=pl.col("length") <= 10),
    "length_11_30": Slice(
        title="11 to 30 items", says="lists of 11 to 30 items", holds=pl.col("length").is_between(11, 30)
    ),
    "length_31_up": Slice(title="over 30 items", says="lists of more than 30 items", holds=pl.col("length") > 30),
}


def facts(train: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """Say of each test list what the slices ask for, from training lists alone.

    Columns: ``clicks``, ``new_clicks`` (clicked items that training never showed nor had in a history),
    ``tail_clicks`` (clicked items shown in training at most as often as the median item shown there), ``length``,
    ``known_user``, ``has_history``.
    """
    views = train.select(pl.col("item_ids").explode(empty_as_null=False)).group_by("item_ids").agg(views=pl.len())
    met = pl.concat([views["item_ids"], train["history"].explode(empty_as_null=False).drop_nulls()]).unique()
    clicked = (
        test.select(item_id="item_ids", clicked="clicked")
        .with_row_index("list")
        .explode("item_id", "clicked", empty_as_null=False)
        .filter("clicked")
        .join(views, left_on="item_id", right_on="item_ids", how="left")
    )
    median = views["views"].median()
    counted = clicked.group_by("list").agg(
        clicks=pl.len(),
        new_clicks=(~pl.col("item_id").is_in(met.implode())).sum(),
        tail_clicks=(pl.col("views").fill_null(0) <= (median if median is not None else 0)).sum(),
    )
    return (
        test.select(
            length=pl.col("item_ids").list.len(),
            known_user=pl.col("user_id").is_in(train["user_id"].unique().implode()),
            has_history=pl.col("history").list.len().fill_null(0) > 0,
        )
        .with_row_index("list")
        .join(counted, on="list", how="left", maintain_order="left")
        .with_columns(pl.col("clicks", "new_clicks", "tail_clicks").fill_null(0))
    )


def members(train: pl.DataFrame, test: pl.DataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    """Tell for each slice which test lists belong to it; each of shape [L]."""
    known = facts(train, test).select(**{name: part.holds for name, part in SLICES.items()})
    return {name: known[name].to_numpy() for name in SLICES}
