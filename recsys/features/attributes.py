"""What the item table says of each item, as arrays by catalog row; the last row stands for an unknown item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog

MAX_VALUES_PER_ITEM = 16
MAX_VALUES = 32_768

Floats = npt.NDArray[np.float64]


def value_names(catalog: Catalog) -> tuple[str, ...]:
    """Name the columns whose values items can share: category, tags, and every string or list attribute."""
    schema = catalog.items.schema
    return (
        "category",
        "tags",
        *(name for name in catalog.attributes if schema[name] in (pl.String, pl.List(pl.String))),
    )


def number_names(catalog: Catalog) -> tuple[str, ...]:
    """Name what has a size: the publication time, and every numeric or boolean attribute."""
    schema = catalog.items.schema
    sized = (name for name in catalog.attributes if schema[name].is_numeric() or schema[name] == pl.Boolean)
    return ("published_at", *sized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The values of all string and list attributes, in one code space, so that they are counted in one go.

    ``codes`` has one block of columns per attribute (attribute ``a`` starts at column ``blocks[a]``), -1 padded; shape
    [items + 1, M]. Only values that at least two items share have a code: a value of one item says nothing that
    the item's own counters do not. ``rarity`` is ln(items / holders) by code; ``held`` counts each item's values of
    each attribute; shape [items + 1, A].
    """

    names: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    blocks: npt.NDArray[np.int64]
    rarity: Floats
    held: npt.NDArray[np.int64]

    @classmethod
    def read(cls, catalog: Catalog) -> Values:
        """Encode a catalog's string and list attributes."""
        names = value_names(catalog)
        codes, rarities, blocks, size = [], [], [0], 0
        for name in names:
            block, rarity = _encode(catalog, name)
            codes.append(np.where(block >= 0, block + size, -1).astype(np.int32))
            rarities.append(rarity)
            blocks.append(blocks[-1] + block.shape[1])
            size += len(rarity)
        held = np.stack([(block >= 0).sum(axis=1) for block in codes], axis=1)
        return cls(
            names=names,
            codes=np.concatenate(codes, axis=1),
            blocks=np.array(blocks[:-1]),
            rarity=np.concatenate(rarities),
            held=held,
        )

    @property
    def size(self) -> int:
        """Count the codes of all attributes together."""
        return len(self.rarity)


def _encode(catalog: Catalog, name: str) -> tuple[npt.NDArray[np.int32], Floats]:
    """Encode one attribute: codes [items + 1, M], -1 padded, and the rarity of each code."""
    is_list = catalog.items.schema[name] == pl.List(pl.String)
    held = (
        catalog.items.lazy()
        .select(pl.int_range(pl.len()).alias("row"), (pl.col(name) if is_list else pl.concat_list(name)).alias("value"))
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
    place = placed["place"].to_numpy()
    codes = np.full((len(catalog) + 1, int(place.max(initial=0)) + 1), -1, np.int32)
    codes[placed["row"].to_numpy(), place] = placed["code"].to_numpy()
    return codes, np.log(len(catalog) / shared["holders"].to_numpy().astype(np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All numeric attributes: as they come, and as the share of the catalog's items with a smaller one.

    Both have shape [items + 1, numbers] and are NaN where the item has none.
    """

    names: tuple[str, ...]
    raw: Floats
    share: Floats

    @classmethod
    def read(cls, catalog: Catalog) -> Numbers:
        """Take a catalog's numbers; ``published_at`` counts in hours since 1970."""
        names = number_names(catalog)
        raw = np.full((len(catalog) + 1, len(names)), np.nan)
        for column, name in enumerate(names):
            series = catalog.items[name]
            if name == "published_at":
                series = series.dt.epoch("us") / 3.6e9
            raw[:-1, column] = series.cast(pl.Float64).to_numpy()
        raw[~np.isfinite(raw)] = np.nan
        return cls(names=names, raw=raw, share=np.stack([_share_below(column) for column in raw.T], axis=1))


def _share_below(column: Floats) -> Floats:
    known = np.sort(column[~np.isnan(column)])
    middle = (np.searchsorted(known, column, "left") + np.searchsorted(known, column, "right")) / 2
    return np.where(np.isnan(column), np.nan, middle / max(len(known), 1))
