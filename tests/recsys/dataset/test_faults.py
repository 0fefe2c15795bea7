"""Every fault of the tables' values is reported with file, column, row and remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.dataset import validate
from recsys.errors import Fault

NOW = datetime(2025, 6, 1, tzinfo=UTC)
NOON = pl.Series([datetime(2025, 5, 1, 12)] * 3)  # noqa: DTZ001 - a time without a zone is what is tested
Save = Callable[..., Path]


def places(faults: list[Fault]) -> list[tuple[str, str, int, str]]:
    assert all(fault.remedy for fault in faults)
    return [(fault.file, fault.column, fault.row, fault.problem) for fault in faults]


def changed(frame: pl.DataFrame, column: str, row: int, value: object) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row - 1] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))


def test_a_sound_dataset_has_no_fault(save: Save, events: pl.DataFrame) -> None:
    assert validate(save(events=events), now=NOW) == []


@pytest.mark.parametrize(
    "case",
    [
        ("item_id", 2, None, "null or empty id"),
        ("item_id", 2, "", "null or empty id"),
        ("item_id", 3, "a", "duplicate id: 'a'"),
        ("title", 2, None, "empty text"),
        ("title", 1, "  \t", "empty text"),
        ("description", 1, "x" * 8_193, "text longer than 8,192 bytes: 'xxx"),
        ("tags", 1, ["x" * 8_193], "tags longer than 8,192 bytes together"),
        ("price", 1, float("inf"), "not finite: inf"),
    ],
)
def test_item_values(save: Save, items: pl.DataFrame, case: tuple[str, int, object, str]) -> None:
    column, row, value, problem = case
    faults = validate(save(items=changed(items, column, row, value)), now=NOW)
    # an id that is gone is also unknown to the lists, so only the item table's own faults are looked at
    faults = [fault for fault in faults if fault.file == "items.parquet"]

    ((file, where, number, said),) = places(faults)
    assert (file, where, number) == ("items.parquet", column, row)
    assert said.startswith(problem)


@pytest.mark.parametrize(
    "case",
    [
        ("request_id", 3, "r1", "duplicate id: 'r1'"),
        ("request_id", 1, None, "null or empty id"),
        ("user_id", 1, "", "null or empty id"),
        ("user_id", 1, "u" * 129, "id longer than 128 bytes: 'uuu"),
        ("ts", 2, None, "no time"),
        ("ts", 2, datetime(2025, 6, 1, 0, 6, tzinfo=UTC), "time in the future: "),
        ("ts", 2, datetime(1969, 6, 1, tzinfo=UTC), "time not after 1970: "),
        ("item_ids", 2, ["c", "nowhere"], "unknown item: 'nowhere'"),
        ("item_ids", 2, ["c", None], "null or empty id in the list: ['c', None]"),
        ("item_ids", 2, ["c", ""], "null or empty id in the list: ['c', '']"),
        ("item_ids", 2, ["c", "c"], "item shown twice in one list: ['c', 'c']"),
        ("clicked", 2, [True, None], "null flag in the list: [True, None]"),
        ("clicked", 2, [True], "lists of unequal length: '2 items, 1 flags'"),
    ],
)
def test_impression_values(save: Save, impressions: pl.DataFrame, case: tuple[str, int, object, str]) -> None:
    column, row, value, problem = case
    faults = validate(save(impressions=changed(impressions, column, row, value)), now=NOW)

    ((file, where, number, said),) = places(faults)
    assert (file, where, number) == ("impressions.parquet", column, row)
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("weight", [1.0, -0.5, None], "negative or not finite: -0.5"),
        ("weight", [1.0, float("nan"), 2.0], "negative or not finite: nan"),
        ("split", ["train", "validation", None], 'not "train", "test" or nothing: \'validation\''),
        ("history", [["a"], ["a", "nowhere"], None], "unknown item: 'nowhere'"),
        ("query", ["", "q" * 8_193, None], "text longer than 8,192 bytes: 'qqq"),
        ("surface", ["home", "s" * 129, None], "text longer than 128 bytes: 'sss"),
    ],
)
def test_optional_impression_values(
    save: Save, impressions: pl.DataFrame, column: str, values: list[object], problem: str
) -> None:
    faults = validate(save(impressions=impressions.with_columns(pl.Series(column, values))), now=NOW)

    ((_, where, row, said),) = places(faults)
    assert (where, row) == (column, 2)
    assert said.startswith(problem)


def test_an_empty_list_is_a_fault(save: Save, impressions: pl.DataFrame) -> None:
    frame = changed(changed(impressions, "item_ids", 2, []), "clicked", 2, [])

    assert places(validate(save(impressions=frame), now=NOW)) == [("impressions.parquet", "item_ids", 2, "empty list")]


def test_a_list_longer_than_a_request_may_be_is_a_fault(save: Save, impressions: pl.DataFrame) -> None:
    ids = [f"i{number}" for number in range(1_001)]
    frame = changed(changed(impressions, "item_ids", 3, ids), "clicked", 3, [False] * 1_001)
    items = pl.DataFrame({"item_id": [*ids, "a", "b", "c"], "title": "thing"})

    assert places(validate(save(impressions=frame, items=items), now=NOW)) == [
        ("impressions.parquet", "item_ids", 3, "more than 1,000 items: 1001")
    ]


def test_lists_without_any_click_are_a_fault(save: Save, impressions: pl.DataFrame) -> None:
    frame = impressions.with_columns(clicked=pl.col("clicked").list.eval(pl.element() & False))

    assert places(validate(save(impressions=frame), now=NOW)) == [
        ("impressions.parquet", "clicked", 0, "no click at all")
    ]


def test_event_values(save: Save, events: pl.DataFrame) -> None:
    wrong = changed(changed(changed(events, "event_id", 2, "e2"), "item_id", 1, "nowhere"), "type", 2, None)

    assert places(validate(save(events=wrong), now=NOW)) == [
        ("events.parquet", "type", 2, "null or empty id"),
        ("events.parquet", "event_id", 2, "duplicate id: 'e2'"),
        ("events.parquet", "item_id", 1, "unknown item: 'nowhere'"),
    ]


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("request_id", pl.Series([1, 2, 3]), "wrong type Int64"),
        ("item_ids", pl.Series(["a", "b", "c"]), "wrong type String"),
        ("clicked", pl.Series([True, False, True]), "wrong type Boolean"),
        ("clicked", pl.Series([[0.0], [1.0], [1.0]]), "wrong type List(Float64)"),
        ("query", pl.Series([1.0, 2.0, 3.0]), "wrong type Float64"),
        ("weight", pl.Series(["1", "2", "3"]), "wrong type String"),
        ("split", pl.Series([True, False, True]), "wrong type Boolean"),
        ("history", pl.Series([[1], [2], [3]]), "wrong type List(Int64)"),
        ("ts", pl.Series([1.5, 2.5, 3.5]), "holds Float64, not a time in UTC"),
        ("ts", NOON, "times have no time zone"),
        ("ts", NOON.dt.replace_time_zone("Europe/Paris"), "times are in Europe/Paris, not in UTC"),
        ("ts", NOON.dt.date(), "holds Date, not a time in UTC"),
    ],
)
def test_a_column_of_the_wrong_type_is_one_fault(
    save: Save, impressions: pl.DataFrame, column: str, values: pl.Series, problem: str
) -> None:
    faults = validate(save(impressions=impressions.with_columns(values.alias(column))), now=NOW)

    assert places(faults) == [("impressions.parquet", column, 0, problem)]


def test_an_attribute_must_be_a_number_a_boolean_or_text(save: Save, items: pl.DataFrame) -> None:
    frame = items.with_columns(size=pl.struct("price", "brand"))

    ((_, column, row, problem),) = places(validate(save(items=frame), now=NOW))
    assert (column, row) == ("size", 0)
    assert problem.startswith("an attribute of type Struct")


@pytest.mark.parametrize("column", ["item_id", "title"])
def test_a_missing_item_column_is_a_fault(save: Save, items: pl.DataFrame, column: str) -> None:
    assert places(validate(save(items=items.drop(column)), now=NOW)) == [("items.parquet", column, 0, "missing column")]


@pytest.mark.parametrize("column", ["request_id", "user_id", "ts", "item_ids", "clicked"])
def test_a_missing_impression_column_is_a_fault(save: Save, impressions: pl.DataFrame, column: str) -> None:
    assert places(validate(save(impressions=impressions.drop(column)), now=NOW)) == [
        ("impressions.parquet", column, 0, "missing column")
    ]


def test_all_faults_of_all_files_are_reported_at_once(
    save: Save, items: pl.DataFrame, impressions: pl.DataFrame, events: pl.DataFrame
) -> None:
    directory = save(
        items=changed(items, "title", 1, ""),
        impressions=changed(changed(impressions.drop("user_id"), "clicked", 3, []), "item_ids", 1, ["a", "b", "?"]),
        events=changed(events, "event_id", 1, None),
    )

    assert places(validate(directory, now=NOW)) == [
        ("items.parquet", "title", 1, "empty text"),
        ("impressions.parquet", "user_id", 0, "missing column"),
        ("impressions.parquet", "item_ids", 1, "unknown item: '?'"),
        ("impressions.parquet", "clicked", 3, "lists of unequal length: '1 items, 0 flags'"),
        ("events.parquet", "event_id", 1, "null or empty id"),
    ]


def test_many_faults_of_a_kind_are_counted_after_the_first_twenty(save: Save, items: pl.DataFrame) -> None:
    more = pl.DataFrame({"item_id": [f"i{number}" for number in range(1_000)], "title": ""})
    faults = validate(save(items=pl.concat([items, more], how="diagonal")), now=NOW)

    assert [fault.row for fault in faults] == [*range(4, 24), 0]
    assert faults[-1].problem == "empty text: 980 more rows"


def test_a_fault_reads_as_one_line_with_place_problem_and_remedy(save: Save, items: pl.DataFrame) -> None:
    (fault,) = validate(save(items=changed(items, "title", 2, "")), now=NOW)

    assert str(fault) == (
        "items.parquet, column title, row 2: empty text; "
        "give every item a title; its id will do where nothing better is known"
    )


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        ("2025-05-01T12:00:00Z", None),
        ("2025-05-01 12:00:00.123456+00:00", None),
        ("2025-05-01T12:00:00.000000+0000", None),
        ("2025-05-01 12:00:00 UTC", None),
        ("1746100800000000", None),
        ("2025-05-01T12:00:00", "time without a zone: '2025-05-01T12:00:00'"),
        ("2025-05-01T12:00:00+02:00", "time that is not in UTC: '2025-05-01T12:00:00+02:00'"),
        ("2025-05-01T12:00:00-0500", "time that is not in UTC: '2025-05-01T12:00:00-0500'"),
        ("2025-05-01", "not a time: '2025-05-01'"),
        ("2025-13-01T12:00:00Z", "not a time: '2025-13-01T12:00:00Z'"),
        ("yesterday", "not a time: 'yesterday'"),
        ("1746100800", "not in microseconds: 1746100800"),
        ("1746100800000", "not in microseconds: 1746100800000"),
        ("2125-05-01T12:00:00Z", "time in the future: 2125-05-01T12:00:00+00:00"),
        ("", "no time"),
    ],
)
def test_times_written_as_text(save: Save, impressions: pl.DataFrame, time: str, problem: str | None) -> None:
    frame = impressions.with_columns(ts=pl.Series(["2025-05-01T12:00:00Z", time, "2025-05-01T12:00:00Z"]))
    expected = [] if problem is None else [("impressions.parquet", "ts", 2, problem)]

    assert places(validate(save(impressions=frame), now=NOW)) == expected


def test_times_as_numbers_must_be_microseconds(save: Save, impressions: pl.DataFrame) -> None:
    frame = impressions.with_columns(ts=pl.Series([1_746_100_800_000_000, 1_746_100_800, 1_746_100_800_000_000]))

    assert places(validate(save(impressions=frame), now=NOW)) == [
        ("impressions.parquet", "ts", 2, "not in microseconds: 1746100800")
    ]
