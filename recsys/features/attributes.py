"""What the item table says of each item, as arrays by catalog row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog
from recsys.features.keys import Keys, keys_of
from recsys.gentle import rest, resting

MAX_VALUES_PER_ITEM = 16
MAX_VALUES = 32_768

Floats = npt.NDArray[np.float64]


def value_names(catalog: Catalog) -> tuple[str, ...]:
    """Name the columns whose values items can share: category, tags, and every string or list attribute."""
    schema = catalog.schema
    return (
        "category",
        "tags",
        *(name for name in catalog.attributes if schema[name] in (pl.String, pl.List(pl.String))),
    )


def number_names(catalog: Catalog) -> tuple[str, ...]:
    """Name what has a size: the publication time, and every numeric or boolean attribute."""
    schema = catalog.schema
    sized = (name for name in catalog.attributes if schema[name].is_numeric() or schema[name] == pl.Boolean)
    return ("published_at", *sized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The values of all string and list attributes, in one code space, so that they are counted in one go.

    Only values that at least two items share have a code: a value of one item says nothing that the item's own
    counters do not. ``rarity`` is ln(items / holders) by code. ``blocks`` says which columns of an item's codes belong
    to which attribute; shape [A + 1]. ``shared`` holds, by attribute, the frame of value and code.
    """

    names: tuple[str, ...]
    blocks: npt.NDArray[np.int64]
    rarity: Floats
    shared: tuple[pl.DataFrame, ...]

    @classmethod
    def read(cls, items: pl.DataFrame, names: tuple[str, ...]) -> Values:
        """Find the values that items of a table share."""
        shared, rarities, blocks, size = [], [], [0], 0
        for name in names:
            held = _held(items, name)
            known = (
                held.group_by("value")
                .agg(pl.len().alias("holders"))
                .filter(pl.col("holders") > 1)
                .sort("holders", "value", descending=[True, False])
                .head(MAX_VALUES)
                .with_row_index("code", offset=size)
            )
            most = held.join(known, on="value").group_by("row").len()["len"].to_numpy().max(initial=1)
            shared.append(known.select("value", pl.col("code").cast(pl.Int32)))
            rarities.append(np.log(items.height / known["holders"].to_numpy().astype(np.float64)))
            blocks.append(blocks[-1] + min(int(most), MAX_VALUES_PER_ITEM))
            size += known.height
        return cls(names=names, blocks=np.array(blocks), rarity=np.concatenate(rarities), shared=tuple(shared))

    @property
    def size(self) -> int:
        """Count the codes of all attributes together."""
        return len(self.rarity)

    def keys(self) -> Keys:
        """Name each code by attribute and value, so that its counters outlive the item table; shape [V]."""
        return keys_of(
            f"{name}\0{value}" for name, known in zip(self.names, self.shared, strict=True) for value in known["value"]
        )

    def encode(self, items: pl.DataFrame) -> npt.NDArray[np.int32]:
        """Return the codes of each item, commonest first within an attribute, -1 padded; shape [n, M]."""
        codes = np.full((items.height, int(self.blocks[-1])), -1, np.int32)
        for block, (name, known) in enumerate(zip(self.names, self.shared, strict=True)):
            placed = (
                _held(items, name)
                .join(known, on="value")
                .sort("row", "code")
                .with_columns(pl.int_range(pl.len()).over("row").alias("place") + int(self.blocks[block]))
                .filter(pl.col("place") < int(self.blocks[block + 1]))
            )
            codes[placed["row"].to_numpy(), placed["place"].to_numpy()] = placed["code"].to_numpy()
            rest()
        return codes


def _held(items: pl.DataFrame, name: str) -> pl.DataFrame:
    """List which row holds which values of an attribute."""
    is_list = items.schema[name] == pl.List(pl.String)
    return (
        items.lazy()
        .select(pl.int_range(pl.len()).alias("row"), (pl.col(name) if is_list else pl.concat_list(name)).alias("value"))
        .explode("value", empty_as_null=True)
        .filter(pl.col("value").is_not_null() & (pl.col("value") != ""))
        .unique()
        .collect()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All numeric attributes; ``known`` holds each one's values in the catalog, ascending."""

    names: tuple[str, ...]
    known: tuple[Floats, ...]

    @classmethod
    def read(cls, items: pl.DataFrame, names: tuple[str, ...]) -> Numbers:
        """Look through a table's numbers."""
        raw = raw_numbers(items, names)
        return cls(names=names, known=tuple(np.sort(column[~np.isnan(column)]) for column in raw.T))

    def shares(self, raw: Floats) -> Floats:
        """Return which share of the catalog has a smaller number, ties counting half; NaN without one; [n, N]."""
        shares = (_share_below(column, known) for column, known in zip(raw.T, self.known, strict=True))
        return np.stack([*resting(shares, every=1)], axis=1)


def raw_numbers(items: pl.DataFrame, names: tuple[str, ...]) -> Floats:
    """Take the numbers of items, NaN where there is none; ``published_at`` counts in hours since 1970; [n, N]."""
    raw = np.full((items.height, len(names)), np.nan)
    for column, name in enumerate(names):
        series = items[name]
        if name == "published_at":
            series = series.dt.epoch("us") / 3.6e9
        raw[:, column] = series.cast(pl.Float64).to_numpy()
    raw[~np.isfinite(raw)] = np.nan
    return raw


def _share_below(column: Floats, known: Floats) -> Floats:
    middle = (np.searchsorted(known, column, "left") + np.searchsorted(known, column, "right")) / 2
    return np.where(np.isnan(column), np.nan, middle / max(len(known), 1))
