"""Files that are missing, empty, truncated, not UTF-8 or of the wrong type are faults with their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.dataset import read_dataset, validate
from recsys.errors import DatasetError

NOW = datetime(2025, 6, 1, tzinfo=UTC)
Save = Callable[..., Path]


def said(directory: Path) -> list[tuple[str, str, int, str]]:
    faults = validate(directory, now=NOW)
    assert all(fault.remedy for fault in faults)
    return [(fault.file, fault.column, fault.row, fault.problem) for fault in faults]


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
