"""What the item table says of each item, as arrays by catalog row; the last row stands for an unknown item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog

MAX_VALUES_PER_ITEM = 16
MAX_VALUES = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """A string or list attribute: codes of the values that each item holds, -1 padded; shape [items + 1, M].

    Only values that at least two items share have a code, the most frequent ``MAX_VALUES`` of them: a value of one
    item says nothing that the item's own counters do not. ``size`` counts the codes, ``rarity`` is ln(items / holders).
    """

    name: str
    codes: npt.NDArray[np.int32]
    rarity: npt.NDArray[np.float64]

    @property
    def size(self) -> int:
        """Count the values that have a code."""
        return len(self.rarity)


def value_names(catalog: Catalog) -> tuple[str, ...]:
    """Name the columns whose values items can share: category, tags, and every string or list attribute."""
    schema = catalog.items.schema
    shared = (name for name in catalog.attributes if schema[name] in (pl.String, pl.List(pl.String)))
    return ("category", "tags", *shared)


def number_names(catalog: Catalog) -> tuple[str, ...]:
    """Name the numeric and boolean attributes."""
    schema = catalog.items.schema
    return tuple(name for name in catalog.attributes if schema[name].is_numeric() or schema[name] == pl.Boolean)


def read_values(catalog: Catalog, name: str) -> Values:
    """Encode one string or list attribute."""
    column = pl.col(name) if catalog.items.schema[name] == pl.List(pl.String) else pl.concat_list(name)
    held = (
        catalog.items.lazy()
        .select(pl.int_range(pl.len()).alias("row"), column.alias("value"))
        .explode("value", empty_as_null=True)
        .filter(pl.col("value").is_not_null() & (pl.col("value") != ""))
        .unique()
    )
    shared = (
        held.group_by("value")
        .agg(pl.len().alias("holders"))
        .filter(pl.col("holders") > 1)
        .sort("holders", "value", descending=[True, False])
        .head(MAX_VALUES)
        .with_row_index("code")
        .collect()
    )
    placed = (
        held.join(shared.lazy(), on="value")
        .sort("row", "code")
        .with_columns(pl.int_range(pl.len()).over("row").alias("place"))
        .filter(pl.col("place") < MAX_VALUES_PER_ITEM)
        .collect()
    )
    width = int(placed["place"].max() or 0) + 1  # type: ignore[arg-type]
    codes = np.full((len(catalog) + 1, width), -1, np.int32)
    codes[placed["row"].to_numpy(), placed["place"].to_numpy()] = placed["code"].to_numpy()
    rarity = np.log(max(len(catalog), 1) / shared["holders"].to_numpy().astype(np.float64))
    return Values(name=name, codes=codes, rarity=rarity)


def read_numbers(catalog: Catalog, name: str) -> npt.NDArray[np.float64]:
    """Return one numeric or boolean attribute by catalog row, NaN where it is null or the item unknown."""
    column = catalog.items[name].cast(pl.Float64).to_numpy()
    return np.append(np.where(np.isfinite(column), column, np.nan), np.nan)


def read_published(catalog: Catalog) -> npt.NDArray[np.float64]:
    """Return the publication time in hours since 1970 by catalog row, NaN where unknown."""
    hours = catalog.items["published_at"].dt.epoch("us").cast(pl.Float64).to_numpy() / 3.6e9
    return np.append(hours, np.nan)
