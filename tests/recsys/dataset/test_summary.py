"""A dataset's figures, and the real dataset that comes in our own table form."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.dataset import build_dataset, describe, read_dataset, validate
from recsys.errors import DatasetError

NOW = datetime(2025, 6, 1, tzinfo=UTC)
AMAZON = Path("../shared/data/amazon_industrial")


def test_a_dataset_is_described_in_figures(save: Callable[..., Path], events: pl.DataFrame) -> None:
    figures = describe(read_dataset(save(events=events), now=NOW))

    assert figures == {
        "items": {
            "count": 3,
            "shown": 3,
            "with_description": 2 / 3,
            "categories": 1,
            "attributes": {"price": "Float64", "brand": "String"},
        },
        "impressions": {
            "lists": 3,
            "users": 2,
            "first": "2025-05-01T12:00:00+00:00",
            "last": "2025-05-03T12:00:00+00:00",
            "items_shown": 6,
            "clicks": 2,
            "click_rate": 1 / 3,
            "list_length": {"min": 1, "median": 2.0, "max": 3},
            "without_click": 1,
            "with_both": 1,
            "with_query": 0.0,
            "with_history": 0.0,
            "split": {"unmarked": 3},
        },
        "events": {"count": 2, "types": figures["events"]["types"]},
    }
    assert figures["events"]["types"] == {"cart": 1, "purchase": 1}
    assert json.loads(json.dumps(figures)) == figures


def test_tables_made_in_memory_are_checked_like_files(items: pl.DataFrame, impressions: pl.DataFrame) -> None:
    assert build_dataset(items, impressions, now=NOW).impressions.height == 3

    with pytest.raises(DatasetError, match="impressions, column item_ids, row 1: unknown item: 'c'"):
        build_dataset(items.head(2), impressions, now=NOW)


def test_attributes_are_kept_as_they_come(items: pl.DataFrame, impressions: pl.DataFrame) -> None:
    more = items.with_columns(
        small=pl.lit(3, dtype=pl.Int8),
        ratio=pl.Series([0.5, float("nan"), None], dtype=pl.Float32),
        sold=pl.Series([True, False, None]),
        colours=pl.Series([["red"], [], None], dtype=pl.List(pl.String)),
        maker=pl.Series(["x", "y", None], dtype=pl.Categorical),
        nothing=pl.lit(None),
    )
    attributes = build_dataset(more, impressions, now=NOW).items[:, 6:]

    assert attributes.schema == {
        "price": pl.Float64,
        "brand": pl.String,
        "small": pl.Int64,
        "ratio": pl.Float64,
        "sold": pl.Boolean,
        "colours": pl.List(pl.String),
        "maker": pl.String,
        "nothing": pl.String,
    }
    assert attributes["ratio"].to_list() == [0.5, None, None]


def test_dates_will_do_for_publication(items: pl.DataFrame, impressions: pl.DataFrame) -> None:
    as_date = items.with_columns(published_at=pl.date(1995, 12, 22))
    as_text = items.with_columns(published_at=pl.Series(["1995-12-22", "1995-12-22T00:00:00Z", None]))
    midnight = datetime(1995, 12, 22, tzinfo=UTC)

    assert build_dataset(as_date, impressions, now=NOW).items["published_at"].to_list() == [midnight] * 3
    assert build_dataset(as_text, impressions, now=NOW).items["published_at"].to_list() == [midnight, midnight, None]


@pytest.mark.skipif(not AMAZON.is_dir(), reason=f"the Amazon data is not at {AMAZON}")
def test_the_amazon_dataset_reads_as_it_is() -> None:
    assert validate(AMAZON) == []
    dataset = read_dataset(AMAZON)

    assert dataset.items.height == 3_686
    assert dataset.items.columns[-1] == "brand"
    assert describe(dataset)["impressions"]["split"] == {"test": 4_533, "train": 4_532}
    assert dataset.impressions["history"].null_count() == 0
