"""What an item table says becomes arrays: shared values, sizes, gaps."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.catalog import Catalog
from recsys.features.attributes import MAX_VALUES_PER_ITEM, Numbers, Values


def test_every_string_or_list_column_is_a_taste_and_every_number_a_size(catalog: Catalog) -> None:
    assert Values.read(catalog).names == ("category", "tags", "brand")
    assert Numbers.read(catalog).names == ("published_at", "price", "vegan")


def test_only_values_that_items_share_have_a_code(catalog: Catalog) -> None:
    values = Values.read(catalog)

    # kitchen, tools; gift, hot, sharp; clay, iron: "leaf" and "solo" stand alone, "" is none
    assert values.size == 7
    assert values.held[catalog.rows(["tea"])[0]].tolist() == [1, 2, 0]
    assert values.held[catalog.rows(["new"])[0]].tolist() == [0, 0, 0]
    assert values.held[-1].tolist() == [0, 0, 0]


def test_attributes_never_share_a_code(catalog: Catalog) -> None:
    values = Values.read(catalog)
    blocks = np.split(values.codes, values.blocks[1:], axis=1)
    used = [set(block[block >= 0].tolist()) for block in blocks]

    assert sum(map(len, used)) == len(set.union(*used))


def test_an_items_values_are_capped() -> None:
    tags = [[f"tag{number}" for number in range(40)]] * 2
    items = pl.DataFrame(
        {"item_id": ["a", "b"], "title": ["A", "B"], "description": "", "category": "", "tags": tags},
    ).with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("published_at"))

    assert Values.read(Catalog(items)).held[:, 1].tolist() == [MAX_VALUES_PER_ITEM, MAX_VALUES_PER_ITEM, 0]


def test_numbers_are_placed_among_the_catalogs(catalog: Catalog) -> None:
    numbers = Numbers.read(catalog)

    assert np.array_equal(numbers.raw[:, 1], [2.0, 5.0, 20.0, 30.0, 40.0, np.nan, np.nan], equal_nan=True)
    assert np.allclose(numbers.share[:, 1], [0.1, 0.3, 0.5, 0.7, 0.9, np.nan, np.nan], equal_nan=True)
    # yes and no are numbers too
    assert np.array_equal(numbers.raw[:3, 2], [1.0, np.nan, np.nan], equal_nan=True)
