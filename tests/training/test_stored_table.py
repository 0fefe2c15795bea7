"""A table of any length is checked as a whole, with rows counted over the file, and read in parts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.errors import ConfigError, DatasetError
from training.stored_table import REQUESTS, Form, item_form, open_table

ITEM_TEXTS = item_form({})
ITEMS = pl.DataFrame({"item_id": ["tea", "cup", "pot"], "title": ["Tea", "Cup", "Pot"], "price": [1, 2, 3]})
NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)
LISTS = pl.DataFrame(
    {
        "request_id": ["r1", "r2"],
        "user_id": ["ann", "bob"],
        "ts": [NOON, NOON],
        "item_ids": [["tea", "cup"], ["pot"]],
        "history": [["pot"], None],
        "query": ["green", None],
    }
)
READ_ITEMS: list[tuple[object, ...]] = [
    ("tea", "Tea", "", "", []),
    ("cup", "Cup", "", "", []),
    ("pot", "Pot", "", "", []),
]
READ_LISTS: list[tuple[object, ...]] = [
    ("r1", "ann", NOON, ["tea", "cup"], "green", ["pot"], ""),
    ("r2", "bob", NOON, ["pot"], "", None, ""),
]


def write(frame: pl.DataFrame, path: Path) -> Path:
    """Write a table in the form that its name asks for."""
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        lists = [name for name, dtype in frame.schema.items() if dtype == pl.List(pl.String)]
        frame.with_columns(pl.col(lists).list.join("|"), pl.col(pl.Datetime).dt.to_string("iso:strict")).write_csv(path)
    else:
        rows = frame.with_columns(pl.col(pl.Datetime).dt.epoch("us")).to_dicts()
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, form: Form, size: int) -> list[tuple[object, ...]]:
    """Check a table, and read it in parts of some size."""
    with open_table(path, form, path.parent / "scratch" / "input.parquet") as table:
        table.check(size)
        return [row for start in range(0, table.rows, size) for row in table.part(start, size).rows()]


def faults(path: Path, form: Form, size: int = 2) -> list[str]:
    """Say what is wrong with a table."""
    with pytest.raises(DatasetError) as caught:
        read(path, form, size)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_every_form_of_file_reads_the_same_in_parts_of_any_size(tmp_path: Path, suffix: str, size: int) -> None:
    assert read(write(ITEMS, tmp_path / f"items{suffix}"), ITEM_TEXTS, size) == READ_ITEMS
    assert read(write(LISTS, tmp_path / f"lists{suffix}"), REQUESTS, size) == READ_LISTS


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_the_attributes_that_a_model_reads_come_last_in_its_order(tmp_path: Path, suffix: str) -> None:
    frame = ITEMS.head(1).with_columns(maker=pl.lit(["Ann", "Bob"]), brand=pl.lit("Kyusu"), colour=pl.lit("red"))
    form = item_form({"brand": pl.String(), "maker": pl.List(pl.String()), "material": pl.String()})

    assert read(write(frame, tmp_path / f"items{suffix}"), form, 1) == [
        ("tea", "Tea", "", "", [], "Kyusu", ["Ann", "Bob"], "")
    ]


def test_a_copy_made_for_reading_is_gone_afterwards(tmp_path: Path) -> None:
    path = write(ITEMS, tmp_path / "items.csv")
    scratch = tmp_path / "out" / ".input.parquet"
    with open_table(path, ITEM_TEXTS, scratch):
        assert scratch.exists()

    assert sorted(tmp_path.iterdir()) == [path]

    scratch.parent.mkdir()
    with open_table(path, ITEM_TEXTS, scratch):
        pass

    assert sorted(tmp_path.iterdir()) == [path, scratch.parent]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_every_bad_item_is_named_with_its_row_in_the_file(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {"item_id": ["tea", "cup", None, "pot", "pot", "jar"], "title": ["Tea", "", "Cup", "Pot", "Pot", None]}
    )

    told = faults(write(frame, tmp_path / f"items{suffix}"), ITEM_TEXTS, 3)

    assert [fault.partition("; ")[0] for fault in told] == [
        f"items{suffix}, column item_id, row 3: null or empty id",
        f"items{suffix}, column title, row 2: empty text",
        f"items{suffix}, column item_id, row 5: duplicate id: 'pot'",
        f"items{suffix}, column title, row 6: empty text",
    ]


def test_every_bad_request_is_named_with_its_row_in_the_file(tmp_path: Path) -> None:
    many = [f"i{place}" for place in range(1_001)]
    frame = pl.DataFrame(
        {
            "request_id": ["r1", "r2", "r3", "r4", "r5", "r6"],
            "user_id": ["ann", None, "ann", "ann", "ann", "ann"],
            "ts": [NOON, NOON, None, NOON, NOON, NOON],
            "item_ids": [["a", "a"], ["a"], [], many, ["x" * 129, None], None],
            "history": [None, ["y" * 129], None, None, None, None],
        }
    )

    told = faults(write(frame, tmp_path / "lists.parquet"), REQUESTS, 100)

    assert [fault.partition("; ")[0].partition(": [")[0] for fault in told] == [
        "lists.parquet, column user_id, row 2: null or empty id",
        "lists.parquet, column ts, row 3: no time",
        "lists.parquet, column item_ids, row 6: no list",
        "lists.parquet, column item_ids, row 5: null or empty id in the list",
        "lists.parquet, column item_ids, row 3: empty list",
        "lists.parquet, column item_ids, row 4: more than 1,000 items: 1001",
        "lists.parquet, column item_ids, row 1: item shown twice in one list",
        "lists.parquet, column item_ids, row 5: id longer than 128 bytes in the list",
        "lists.parquet, column history, row 2: id longer than 128 bytes in the list",
    ]


def test_requests_may_be_stored_for_tomorrow_and_name_unknown_items(tmp_path: Path) -> None:
    frame = LISTS.with_columns(ts=pl.lit(datetime(2199, 1, 1, tzinfo=UTC)), item_ids=pl.lit(["nobody-knows"]))

    assert len(read(write(frame, tmp_path / "lists.parquet"), REQUESTS, 10)) == 2


def test_a_missing_column_is_said_once(tmp_path: Path) -> None:
    told = faults(write(ITEMS.drop("title"), tmp_path / "items.parquet"), ITEM_TEXTS, 1)

    assert told == ["items.parquet, column title: missing column; add it: never empty"]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("items.parquet", b"", "the file is empty"),
        ("items.csv", b"", "the file is empty"),
        ("items.jsonl", b"", "the file is empty"),
        ("items.parquet", b"PAR1 no more", "truncated or damaged Parquet"),
        ("items.csv", b"item_id,title\n", "no rows"),
        ("items.csv", b"item_id,title\ntea,caf\xe9\n", "column title, row 1: text that is not UTF-8"),
        ("items.csv", b"item_id,title\ntea,a\ncup,b,c\n", "row 2: not 2 fields as in the header"),
        ("items.jsonl", b'{"item_id":"tea","title":"Tea"}\nnonsense\n', "row 2: not a JSON object"),
        (
            "items.jsonl",
            b'{"item_id":"tea","title":"Tea"}\n{"item_id":7,"title":"Cup"}\n',
            "item_id, row 2: wrong type",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_place(
    tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)

    assert any(problem in fault for fault in faults(path, ITEM_TEXTS))
    assert list(tmp_path.iterdir()) == [path]


def test_a_parquet_file_damaged_in_the_middle_is_refused_by_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    names = [f"item-{place}" for place in range(4_000)]
    frame = pl.DataFrame({"item_id": names, "title": names})
    frame.write_parquet(path, row_group_size=1_000, compression="uncompressed", statistics=False)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3_000] = b"\xff" * 3_000
    path.write_bytes(data)

    told = faults(path, ITEM_TEXTS, 1_000)

    assert any("cannot be read" in fault and "rows 2,001 to 3,000" in fault for fault in told), told


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items.xlsx").write_bytes(b"PK")

    with pytest.raises(ConfigError, match=r"ends in \.parquet, \.csv, \.jsonl"):
        read(tmp_path / "items.xlsx", ITEM_TEXTS, 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    titles=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, max_size=9),
    size=st.integers(1, 4),
)
def test_parts_together_are_the_whole(tmp_path: Path, titles: list[str], size: int) -> None:
    sound = [f"x{title}" for title in titles]
    frame = pl.DataFrame({"item_id": [f"i{place}" for place in range(len(sound))], "title": sound})
    for suffix in (".parquet", ".csv", ".jsonl"):
        rows = read(write(frame, tmp_path / f"items{suffix}"), ITEM_TEXTS, size)

        assert [(row[0], row[1]) for row in rows] == frame.rows()
