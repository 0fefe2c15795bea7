"""What an item table says becomes arrays: shared values, sizes, gaps."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.catalog import Catalog
from recsys.features.attributes import MAX_VALUES_PER_ITEM, number_names, value_names
from recsys.features.facts import CatalogFacts


def held(facts: CatalogFacts, row: int) -> list[int]:
    """Count an item's values by attribute."""
    return [int((block >= 0).sum()) for block in np.split(facts.codes[row], facts.values.blocks[1:-1])]


def test_every_string_or_list_column_is_a_taste_and_every_number_a_size(catalog: Catalog) -> None:
    assert value_names(catalog) == ("category", "tags", "brand")
    assert number_names(catalog) == ("published_at", "price", "vegan")


def test_only_values_that_items_share_have_a_code(catalog: Catalog) -> None:
    facts = CatalogFacts(catalog)

    # kitchen, tools; gift, hot, sharp; clay, iron: "leaf" and "solo" stand alone, "" is none
    assert facts.values.size == 7
    assert held(facts, 0) == [1, 2, 0]
    assert held(facts, 5) == [0, 0, 0]
    assert held(facts, -1) == [0, 0, 0]


def test_attributes_never_share_a_code(catalog: Catalog) -> None:
    facts = CatalogFacts(catalog)
    blocks = np.split(facts.codes, facts.values.blocks[1:-1], axis=1)
    used = [set(block[block >= 0].tolist()) for block in blocks]

    assert sum(map(len, used)) == len(set.union(*used))


def test_an_items_values_are_capped() -> None:
    tags = [[f"tag{number}" for number in range(40)]] * 2
    items = pl.DataFrame(
        {"item_id": ["a", "b"], "title": ["A", "B"], "description": "", "category": "", "tags": tags},
    ).with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("published_at"))

    assert [held(CatalogFacts(Catalog(items)), row)[1] for row in (0, 1, -1)] == [MAX_VALUES_PER_ITEM] * 2 + [0]


def test_numbers_are_placed_among_the_catalogs(catalog: Catalog) -> None:
    facts = CatalogFacts(catalog)

    assert np.array_equal(facts.raw[:, 1], [2.0, 5.0, 20.0, 30.0, 40.0, np.nan, np.nan], equal_nan=True)
    assert np.allclose(facts.share[:, 1], [0.1, 0.3, 0.5, 0.7, 0.9, np.nan, np.nan], equal_nan=True)
    # yes and no are numbers too
    assert np.array_equal(facts.raw[:3, 2], [1.0, np.nan, np.nan], equal_nan=True)
