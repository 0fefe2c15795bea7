"""A small dataset without a fault, and the same with one thing changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

NOW = datetime(2025, 6, 1, tzinfo=UTC)
_AT = [datetime(2025, 5, day, 12, tzinfo=UTC) for day in (1, 2, 3)]


@pytest.fixture
def items() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["Red kettle", "Blue kettle", "Oak table"],
            "description": ["Boils fast.", None, "Seats six."],
            "tags": [["kitchen", "red"], [], None],
            "price": [19.5, 24.0, None],
            "brand": ["Ako", None, "Holm"],
        }
    )


@pytest.fixture
def impressions() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "request_id": ["r1", "r2", "r3"],
            "user_id": ["u1", "u2", "u1"],
            "ts": _AT,
            "item_ids": [["a", "b", "c"], ["c", "a"], ["b"]],
            "clicked": [[True, False, False], [False, False], [True]],
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


@pytest.fixture
def long_impressions(impressions: pl.DataFrame) -> pl.DataFrame:
    rows = impressions.with_columns(position=pl.int_ranges(pl.col("item_ids").list.len()))
    rows = rows.explode("item_ids", "clicked", "position").rename({"item_ids": "item_id"})
    return rows.sample(fraction=1.0, shuffle=True, seed=3)


@pytest.fixture
def events() -> pl.DataFrame:
    columns = {"event_id": ["e2", "e1"], "user_id": ["u1", "u2"], "item_id": ["a", "c"], "type": ["cart", "purchase"]}
    return pl.DataFrame({**columns, "ts": _AT[1::-1]}, schema_overrides={"ts": pl.Datetime("us", "UTC")})


@pytest.fixture
def save(tmp_path: Path, items: pl.DataFrame, impressions: pl.DataFrame) -> Callable[..., Path]:
    """Write the tables as Parquet, those given in place of the sound ones."""

    def write(**tables: pl.DataFrame) -> Path:
        directory = tmp_path / "shop"
        directory.mkdir()
        for name, frame in {"items": items, "impressions": impressions, **tables}.items():
            frame.write_parquet(directory / f"{name}.parquet")
        return directory

    return write
