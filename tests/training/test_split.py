"""Which lists are for the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from training.split import test_lists as divide

START = datetime(2026, 1, 1, tzinfo=UTC)


def impressions(minutes: list[int], split: list[str | None] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "request_id": [f"r{number}" for number in range(len(minutes))],
            "ts": pl.Series([START + timedelta(minutes=m) for m in minutes], dtype=pl.Datetime("us", "UTC")),
            "split": pl.Series(split or [None] * len(minutes), dtype=pl.String),
        }
    )


def ids(frame: pl.DataFrame) -> list[str]:
    return frame["request_id"].to_list()


def test_a_given_split_is_obeyed_even_against_time() -> None:
    train, test = divide(impressions([0, 1, 2, 3], ["test", "train", "test", "train"]))

    assert (ids(train), ids(test)) == (["r1", "r3"], ["r0", "r2"])


def test_a_list_without_a_mark_is_for_training_where_others_are_marked() -> None:
    train, test = divide(impressions([0, 1, 2], ["train", None, "test"]))

    assert (ids(train), ids(test)) == (["r0", "r1"], ["r2"])


def test_where_all_is_marked_train_no_list_is_taken_for_the_test() -> None:
    train, test = divide(impressions([0, 1], ["train", "train"]))

    assert (len(train), len(test)) == (2, 0)


def test_without_a_split_the_newest_fifth_is_the_test() -> None:
    train, test = divide(impressions(list(range(10))))

    assert ids(train) == [f"r{number}" for number in range(8)]
    assert ids(test) == ["r8", "r9"]


def test_lists_of_the_same_moment_are_never_divided() -> None:
    train, test = divide(impressions([0, 1, 2, 3, 4, 5, 7, 7, 7, 9]))

    assert ids(test) == ["r6", "r7", "r8", "r9"]
    assert train["ts"].max() < test["ts"].min()


def test_no_lists_give_no_lists() -> None:
    train, test = divide(impressions([]))

    assert (len(train), len(test)) == (0, 0)
