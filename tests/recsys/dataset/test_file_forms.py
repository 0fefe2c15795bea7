"""Parquet, CSV, JSONL and the long form of the impressions all read as the same dataset; damaged files say where."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.dataset import Dataset, read_dataset, validate, write_dataset
from recsys.errors import DatasetError

NOW = datetime(2025, 6, 1, tzinfo=UTC)
Save = Callable[..., Path]


def assert_same(left: Dataset, right: Dataset) -> None:
    assert_frame_equal(left.items, right.items)
    assert_frame_equal(left.impressions, right.impressions)
    assert_frame_equal(left.events, right.events)


def as_json_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Write every list column as CSV cells that hold JSON arrays."""
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    cells = {name: [None if value is None else json.dumps(value) for value in frame[name].to_list()] for name in lists}
    return frame.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in cells.items())


def said(directory: Path) -> list[tuple[str, str, int, str]]:
    faults = validate(directory, now=NOW)
    assert all(fault.remedy for fault in faults)
    return [(fault.file, fault.column, fault.row, fault.problem) for fault in faults]


def test_reading_fills_in_what_is_absent_and_sorts_the_lists(save: Save, impressions: pl.DataFrame) -> None:
    dataset = read_dataset(save(impressions=impressions.reverse()), now=NOW)

    assert dataset.impressions.schema == {
        "request_id": pl.String,
        "user_id": pl.String,
        "ts": pl.Datetime("us", "UTC"),
        "item_ids": pl.List(pl.String),
        "clicked": pl.List(pl.Boolean),
        "query": pl.String,
        "history": pl.List(pl.String),
        "surface": pl.String,
        "weight": pl.Float64,
        "split": pl.String,
    }
    assert dataset.impressions["request_id"].to_list() == ["r1", "r2", "r3"]
    assert dataset.impressions.row(0)[5:] == ("", None, "", 1.0, None)
    assert dataset.items.columns == [
        *("item_id", "title", "description", "category", "tags", "published_at"),
        *("price", "brand"),
    ]
    assert dataset.items.row(1) == ("b", "Blue kettle", "", "", [], None, 24.0, None)
    assert dataset.items["tags"].to_list() == [["kitchen", "red"], [], []]
    assert dataset.events.schema == {
        **dict.fromkeys(("event_id", "user_id", "item_id", "type"), pl.String),
        "ts": pl.Datetime("us", "UTC"),
    }
    assert dataset.events.is_empty()


def test_what_is_written_reads_back_the_same(save: Save, events: pl.DataFrame, tmp_path: Path) -> None:
    dataset = read_dataset(save(events=events), now=NOW)
    write_dataset(dataset, tmp_path / "copy")

    assert dataset.events["event_id"].to_list() == ["e1", "e2"]
    assert_same(read_dataset(tmp_path / "copy", now=NOW), dataset)


def test_writing_overwrites_nothing(save: Save, tmp_path: Path) -> None:
    dataset = read_dataset(save(), now=NOW)
    (tmp_path / "taken").mkdir()

    with pytest.raises(DatasetError, match="exists already; name a new directory"):
        write_dataset(dataset, tmp_path / "taken")
    assert list((tmp_path / "taken").iterdir()) == []


def test_csv_reads_as_the_same_dataset(
    save: Save, items: pl.DataFrame, impressions: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "csv").mkdir()
    as_json_cells(items).write_csv(tmp_path / "csv" / "items.csv")
    as_json_cells(impressions).write_csv(tmp_path / "csv" / "impressions.csv")

    assert_same(read_dataset(tmp_path / "csv", now=NOW), read_dataset(save(), now=NOW))


def test_jsonl_reads_as_the_same_dataset(
    save: Save, items: pl.DataFrame, impressions: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "jsonl").mkdir()
    items.write_ndjson(tmp_path / "jsonl" / "items.jsonl")
    iso = impressions.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    iso.write_ndjson(tmp_path / "jsonl" / "impressions.jsonl")

    assert_same(read_dataset(tmp_path / "jsonl", now=NOW), read_dataset(save(), now=NOW))


def test_lists_in_csv_may_be_separated_by_bars_or_by_spaces(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(
        "item_id,title,tags,size,sold\na,Red,deep red|bright,3,true\nb,Blue,,2.5,false\n"
    )
    (tmp_path / "impressions.csv").write_text(
        "request_id,user_id,ts,item_ids,clicked,history\n"
        "r1,u,2025-05-01T12:00:00Z,a b,0 1,\n"
        "r2,u,2025-05-02T12:00:00Z,b|a,true|false,a\n"
        'r3,u,2025-05-03T12:00:00Z,"[""b""]",[true],"[]"\n'
    )
    dataset = read_dataset(tmp_path, now=NOW)

    assert dataset.impressions["item_ids"].to_list() == [["a", "b"], ["b", "a"], ["b"]]
    assert dataset.impressions["clicked"].to_list() == [[False, True], [True, False], [True]]
    assert dataset.impressions["history"].to_list() == [None, ["a"], []]
    assert dataset.items["tags"].to_list() == [["deep red", "bright"], []]
    assert dataset.items["size"].to_list() == [3.0, 2.5]
    assert dataset.items["sold"].to_list() == [True, False]


def test_the_long_form_is_folded(save: Save, long_impressions: pl.DataFrame, impressions: pl.DataFrame) -> None:
    directory = save(impressions=long_impressions)

    assert read_dataset(directory, now=NOW).impressions.columns[3:5] == ["item_ids", "clicked"]
    columns = ["request_id", "user_id", "ts", "item_ids", "clicked"]
    assert_frame_equal(read_dataset(directory, now=NOW).impressions.select(columns), impressions.select(columns))


def test_the_long_form_is_folded_from_csv_too(
    save: Save, long_impressions: pl.DataFrame, items: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "long").mkdir()
    items.write_parquet(tmp_path / "long" / "items.parquet")
    long_impressions.with_columns(pl.col("clicked").cast(pl.Int8)).write_csv(tmp_path / "long" / "impressions.csv")

    assert_frame_equal(read_dataset(tmp_path / "long", now=NOW).impressions, read_dataset(save(), now=NOW).impressions)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("user_id", ["u1", "u2"], "differs within one list: 'u2'"),
        ("item_id", ["a", "a"], "item shown twice in one list: 'a'"),
        ("position", [1, 1], "position taken twice in one list: 1"),
        ("position", [1, None], "no position"),
        ("item_id", ["a", "?"], "unknown item: '?'"),
        ("clicked", [True, None], "no flag"),
        ("weight", [1.0, 2.0], "differs within one list: 2.0"),
        ("history", [["a"], ["b"]], "differs within one list: ['b']"),
    ],
)
def test_faults_of_the_long_form_name_its_own_rows(save: Save, column: str, values: list[object], problem: str) -> None:
    rows = pl.DataFrame(
        {
            "request_id": ["r1", "r1"],
            "user_id": "u1",
            "ts": datetime(2025, 5, 1, tzinfo=UTC),
            "item_id": ["a", "b"],
            "clicked": [True, False],
            "position": [1, 2],
        }
    )

    assert said(save(impressions=rows.with_columns(pl.Series(column, values)))) == [
        ("impressions.parquet", column, 2, problem)
    ]


def test_the_long_form_needs_positions(save: Save, long_impressions: pl.DataFrame) -> None:
    assert said(save(impressions=long_impressions.drop("position"))) == [
        ("impressions.parquet", "position", 0, "missing column")
    ]
