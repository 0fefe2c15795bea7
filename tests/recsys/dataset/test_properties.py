"""Any sound dataset reads the same in every form, and no damage to a file goes beyond a reported fault."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys.dataset import read_dataset, validate
from recsys.dataset.columns import IMPRESSIONS

NOW = datetime(2025, 6, 1, tzinfo=UTC)
IDS = st.text("abcxyz0189-_:é日", min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2025, 5, 31)).map(lambda time: time.replace(tzinfo=UTC))  # noqa: DTZ001


@st.composite
def tables(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    ids = draw(st.lists(IDS, min_size=1, max_size=6, unique=True))
    titles = draw(st.lists(TEXTS.map(lambda text: f"t{text}"), min_size=len(ids), max_size=len(ids)))
    items = pl.DataFrame({"item_id": ids, "title": titles})
    shown = st.lists(st.sampled_from(ids), min_size=1, unique=True)
    lists = draw(st.lists(shown, min_size=1, max_size=5))
    clicked = [draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items))) for items in lists]
    clicked[0][0] = True
    count = len(lists)
    impressions = pl.DataFrame(
        {
            "request_id": draw(st.lists(IDS, min_size=count, max_size=count, unique=True)),
            "user_id": draw(st.lists(IDS, min_size=count, max_size=count)),
            "ts": draw(st.lists(TIMES, min_size=count, max_size=count)),
            "item_ids": lists,
            "clicked": clicked,
            "query": draw(st.lists(TEXTS, min_size=count, max_size=count)),
            "history": draw(st.lists(st.none() | st.lists(st.sampled_from(ids)), min_size=count, max_size=count)),
            "weight": draw(st.lists(st.none() | st.floats(0, 1e9), min_size=count, max_size=count)),
            "split": draw(st.lists(st.sampled_from([None, "train", "test"]), min_size=count, max_size=count)),
        },
        schema_overrides={
            "ts": pl.Datetime("us", "UTC"),
            "history": pl.List(pl.String),
            "weight": pl.Float64,
            "split": pl.String,
        },
    )
    return items, impressions


def cells(frame: pl.DataFrame) -> pl.DataFrame:
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return frame.with_columns(
        pl.Series(
            name, [None if value is None else json.dumps(value) for value in frame[name].to_list()], dtype=pl.String
        )
        for name in lists
    )


def long_form(frame: pl.DataFrame) -> pl.DataFrame:
    rows = frame.with_columns(position=pl.int_ranges(pl.col("item_ids").list.len()))
    return rows.explode("item_ids", "clicked", "position").rename({"item_ids": "item_id"}).reverse()


@settings(max_examples=30, deadline=None)
@given(tables())
def test_every_form_of_a_dataset_reads_the_same(given_tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    items, impressions = given_tables
    iso = impressions.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))
    with tempfile.TemporaryDirectory() as folder:
        for number, write in enumerate(
            (
                lambda to: impressions.write_parquet(to / "impressions.parquet"),
                lambda to: cells(impressions).write_csv(to / "impressions.csv"),
                lambda to: iso.write_ndjson(to / "impressions.jsonl"),
                lambda to: long_form(impressions).write_parquet(to / "impressions.parquet"),
                lambda to: cells(long_form(impressions)).write_csv(to / "impressions.csv"),
                lambda to: long_form(iso).write_ndjson(to / "impressions.jsonl"),
            )
        ):
            directory = Path(folder) / str(number)
            directory.mkdir()
            items.write_parquet(directory / "items.parquet")
            write(directory)
            read = read_dataset(directory, now=NOW).impressions

            assert read.schema == {column.name: column.dtype for column in IMPRESSIONS}
            assert_frame_equal(
                read.drop("surface"), impressions.with_columns(pl.col("weight").fill_null(1.0)).sort("ts", "request_id")
            )


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 1), at=st.floats(0, 1, exclude_max=True), put=st.binary(max_size=4), data=st.data())
def test_a_damaged_file_is_reported_or_read_but_never_crashes(
    suffix: str, cut: float, at: float, put: bytes, data: st.DataObject
) -> None:
    items, impressions = data.draw(tables())
    iso = impressions.with_columns(ts=pl.lit((NOW - timedelta(days=1)).isoformat()))
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        items.write_parquet(directory / "items.parquet")
        path = directory / f"impressions.{suffix}"
        if suffix == "parquet":
            impressions.write_parquet(path)
        elif suffix == "csv":
            cells(iso).write_csv(path)
        else:
            iso.write_ndjson(path)
        content = bytearray(path.read_bytes())
        place = int(at * len(content))
        content[place : place + len(put)] = put
        path.write_bytes(content[: max(1, int(len(content) * (0.5 + cut)))])

        for fault in validate(directory, now=NOW):
            assert fault.problem
            assert fault.remedy
            assert fault.row >= 0
