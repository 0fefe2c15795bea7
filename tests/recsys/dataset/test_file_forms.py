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


def test_a_missing_directory_and_missing_files_are_faults(tmp_path: Path) -> None:
    assert said(tmp_path / "nowhere") == [(str(tmp_path / "nowhere"), "", 0, "no such directory")]
    assert said(tmp_path) == [
        ("items.parquet", "", 0, "missing file"),
        ("impressions.parquet", "", 0, "missing file"),
    ]


def test_two_files_for_one_table_are_a_fault(save: Save, items: pl.DataFrame) -> None:
    directory = save()
    items.write_ndjson(directory / "items.jsonl")

    assert said(directory) == [("items.parquet", "", 0, "items.jsonl holds the same table")]


@pytest.mark.parametrize("table", ["items", "impressions", "events"])
def test_an_empty_file_is_a_fault(save: Save, table: str) -> None:
    directory = save()
    (directory / f"{table}.parquet").write_bytes(b"")

    assert said(directory) == [(f"{table}.parquet", "", 0, "the file is empty")]


@pytest.mark.parametrize(("name", "content"), [("items.csv", "item_id,title\n"), ("items.jsonl", "\n\n")])
def test_a_file_without_rows_is_a_fault(save: Save, name: str, content: str) -> None:
    directory = save()
    (directory / "items.parquet").unlink()
    (directory / name).write_text(content)

    assert (name, "", 0, "no rows") in said(directory)


def test_a_parquet_file_without_rows_is_a_fault(save: Save, impressions: pl.DataFrame) -> None:
    assert said(save(impressions=impressions.head(0))) == [("impressions.parquet", "", 0, "no rows")]


@pytest.mark.parametrize("keep", [4, 100, 0.5, -1])
def test_truncated_parquet_is_a_fault(save: Save, keep: float) -> None:
    directory = save()
    path = directory / "impressions.parquet"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])

    ((file, column, row, problem),) = said(directory)
    assert (file, column, row) == ("impressions.parquet", "", 0)
    assert problem.startswith("truncated or damaged Parquet (")


def test_parquet_text_that_is_not_utf8_names_its_column_and_row(save: Save, items: pl.DataFrame) -> None:
    directory = save()
    path = directory / "items.parquet"
    more = pl.DataFrame({"item_id": [f"i{number}" for number in range(5_000)]})
    table = pl.concat([items, more.with_columns(title="Kettle " + pl.col("item_id"))], how="diagonal")
    table.write_parquet(path, compression="uncompressed", statistics=False, row_group_size=1_000)
    path.write_bytes(path.read_bytes().replace(b"Kettle i3210", b"Kettl\xe9 i3210"))

    assert said(directory) == [
        ("items.parquet", "title", 3_214, "text that is not UTF-8, here or in rows stored with it")
    ]


def test_binary_text_is_decoded_and_its_faults_are_named_by_row(save: Save, items: pl.DataFrame) -> None:
    titles = pl.Series("title", [b"caf\xc3\xa9", b"caf\xe9", b"Oak"])

    assert said(save(items=items.with_columns(titles))) == [
        ("items.parquet", "title", 2, "text that is not UTF-8: b'caf\\xe9'")
    ]


def test_csv_that_is_not_utf8_names_its_columns_and_rows(save: Save) -> None:
    directory = save()
    (directory / "items.parquet").unlink()
    (directory / "items.csv").write_bytes(b'item_id,title,brand\na,"two\nlines",x\nb,caf\xe9,x\nc,Oak,\xff\n')

    assert said(directory) == [
        ("items.csv", "title", 2, "text that is not UTF-8"),
        ("items.csv", "brand", 3, "text that is not UTF-8"),
    ]


def test_csv_records_with_too_many_fields_are_named_and_the_rest_is_still_checked(save: Save) -> None:
    directory = save()
    (directory / "items.parquet").unlink()
    (directory / "items.csv").write_text("item_id,title\na,Red, and blue\nb,\nc,Oak\n")

    assert said(directory)[:2] == [
        ("items.csv", "", 1, "not 2 fields as in the header"),
        ("items.csv", "title", 2, "empty text"),
    ]


def test_csv_with_a_quote_that_is_never_closed_is_a_fault(save: Save) -> None:
    directory = save()
    (directory / "items.parquet").unlink()
    (directory / "items.csv").write_text('item_id,title\na,Red\nb,"Blue\n' + "c,Oak\n" * 50_000)

    assert said(directory)[0][:3] == ("items.csv", "", 0)
    assert said(directory)[0][3].startswith("cannot be read to its end")


def test_json_nested_without_end_is_a_fault(save: Save) -> None:
    directory = save()
    (directory / "items.parquet").unlink()
    (directory / "items.jsonl").write_text("[" * 100_000 + "\n")

    assert said(directory)[0] == ("items.jsonl", "", 1, "not a JSON object")


def test_jsonl_lines_that_are_broken_or_not_utf8_are_named_and_the_rest_is_still_checked(save: Save) -> None:
    directory = save()
    (directory / "items.parquet").unlink()
    lines = [b'{"item_id": "a", "title": "caf\xe9"}', b'{"item_id": "b"', b"[1]", b'{"item_id": "c", "title": ""}']
    (directory / "items.jsonl").write_bytes(b"\n".join(lines))

    assert [fault for fault in said(directory) if fault[0] == "items.jsonl"] == [
        ("items.jsonl", "", 1, "text that is not UTF-8"),
        ("items.jsonl", "", 2, "not a JSON object"),
        ("items.jsonl", "", 3, "not a JSON object"),
        ("items.jsonl", "title", 4, "empty text"),
    ]


def test_jsonl_values_of_the_wrong_type_are_named_by_row(save: Save) -> None:
    directory = save()
    (directory / "impressions.parquet").unlink()
    good = {"request_id": "r1", "user_id": "u", "ts": "2025-05-01T12:00:00Z", "item_ids": ["a"], "clicked": [1]}
    lines = [good, {**good, "request_id": "r2", "item_ids": "b"}, {**good, "request_id": "r3", "clicked": [0.5]}]
    (directory / "impressions.jsonl").write_text("\n".join(json.dumps(line) for line in lines))

    assert said(directory) == [
        ("impressions.jsonl", "item_ids", 2, "wrong type: 'b'"),
        ("impressions.jsonl", "clicked", 3, "wrong type: [0.5]"),
    ]


def test_jsonl_values_without_a_common_type_are_named_by_row(save: Save) -> None:
    directory = save()
    (directory / "items.parquet").unlink()
    lines = [{"item_id": "a", "title": "A"}, {"item_id": "b", "title": {"en": "B"}}, {"item_id": "c", "title": ["C"]}]
    (directory / "items.jsonl").write_text("\n".join(json.dumps(line) for line in lines))

    assert said(directory) == [
        ("items.jsonl", "title", 2, "wrong type: {'en': 'B'}"),
        ("items.jsonl", "title", 3, "wrong type: ['C']"),
    ]


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("item_ids", '"[""a"""', "not a list: '[\"a\"'"),
        ("clicked", "yes", "a flag that is neither true nor false: 'yes'"),
        ("weight", "heavy", "not a number: 'heavy'"),
        ("split", "dev", 'not "train", "test" or nothing: \'dev\''),
        ("ts", "1 May 2025", "not a time: '1 May 2025'"),
    ],
)
def test_csv_cells_of_the_wrong_type_are_named_by_row(save: Save, column: str, cell: str, problem: str) -> None:
    directory = save()
    (directory / "impressions.parquet").unlink()
    good = {
        "user_id": "u",
        "ts": "2025-05-01T12:00:00Z",
        "item_ids": "a",
        "clicked": "1",
        "weight": "1",
        "split": "test",
    }
    rows = [{"request_id": "r1", **good}, {"request_id": "r2", **good, column: cell}]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (directory / "impressions.csv").write_text("\n".join(lines) + "\n")

    assert said(directory)[0] == ("impressions.csv", column, 2, problem)


def test_nothing_is_written_by_validation(save: Save, items: pl.DataFrame, tmp_path: Path) -> None:
    directory = save(items=items.drop("title"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    validate(directory, now=NOW)

    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_reading_raises_all_faults_at_once(save: Save, items: pl.DataFrame, impressions: pl.DataFrame) -> None:
    with pytest.raises(DatasetError) as caught:
        read_dataset(save(items=items.drop("title"), impressions=impressions.drop("ts")), now=NOW)

    assert [fault.column for fault in caught.value.faults] == ["title", "ts"]
