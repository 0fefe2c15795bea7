"""Which test lists belong to which slice."""

from __future__ import annotations

import polars as pl
import pytest

from training.slices import SLICES, members


def lists(*rows: tuple[str, list[str], list[str], list[str] | None]) -> pl.DataFrame:
    """Rows of user, items shown, items clicked, history."""
    return pl.DataFrame(
        {
            "user_id": pl.Series([user for user, _, _, _ in rows], dtype=pl.String),
            "item_ids": pl.Series([items for _, items, _, _ in rows], dtype=pl.List(pl.String)),
            "clicked": pl.Series(
                [[item in clicked for item in items] for _, items, clicked, _ in rows], dtype=pl.List(pl.Boolean)
            ),
            "history": pl.Series([history for _, _, _, history in rows], dtype=pl.List(pl.String)),
        }
    )


# Views in training: a 3, b 3, c 2, d 1, so the median is 2.5 and the tail is c and d; h occurs in a history alone.
TRAIN = lists(
    ("u1", ["a", "b", "c"], ["a"], ["h"]),
    ("u1", ["a", "b", "c"], ["b"], None),
    ("u2", ["a", "b", "d"], [], []),
)


def belongs(slice_name: str, *rows: tuple[str, list[str], list[str], list[str] | None]) -> list[bool]:
    return members(TRAIN, lists(*rows))[slice_name].tolist()


def test_a_list_is_of_new_items_when_a_clicked_one_occurs_nowhere_in_training() -> None:
    rows = (
        ("u1", ["a", "x"], ["x"], None),
        ("u1", ["a", "x"], ["a"], None),  # x was shown, not clicked
        ("u1", ["h", "a"], ["h"], None),  # in a history of training
        ("u1", ["a", "x"], ["a", "x"], None),
    )

    assert belongs("new_items", *rows) == [True, False, False, True]
    assert belongs("seen_items", *rows) == [False, True, True, False]


def test_a_user_is_new_without_training_list_and_without_history() -> None:
    rows = (
        ("u1", ["a", "b"], ["a"], None),
        ("u9", ["a", "b"], ["a"], None),
        ("u9", ["a", "b"], ["a"], []),
        ("u9", ["a", "b"], ["a"], ["b"]),
    )

    assert belongs("new_users", *rows) == [False, True, True, False]


def test_the_long_tail_is_where_half_of_the_clicks_are_on_rarely_shown_items() -> None:
    rows = (
        ("u1", ["a", "c"], ["c"], None),
        ("u1", ["a", "c"], ["a"], None),
        ("u1", ["a", "d", "b"], ["a", "d"], None),
        ("u1", ["a", "d", "b"], ["a", "d", "b"], None),
        ("u1", ["a", "x"], ["x"], None),  # never shown
    )

    assert belongs("long_tail", *rows) == [True, False, True, False, True]


def test_lists_fall_into_three_lengths() -> None:
    rows = [("u1", [f"i{n}" for n in range(size)], ["i0"], None) for size in (10, 11, 30, 31)]

    assert belongs("length_1_10", *rows) == [True, False, False, False]
    assert belongs("length_11_30", *rows) == [False, True, True, False]
    assert belongs("length_31_up", *rows) == [False, False, False, True]


def test_without_training_lists_all_is_new() -> None:
    found = members(TRAIN[:0], lists(("u1", ["a", "b"], ["a"], None)))

    assert {name: bool(mask[0]) for name, mask in found.items()} == {
        "new_items": True,
        "seen_items": False,
        "new_users": True,
        "long_tail": True,
        "length_1_10": True,
        "length_11_30": False,
        "length_31_up": False,
    }


@pytest.mark.parametrize("name", SLICES)
def test_lists_without_a_click_are_answered_too(name: str) -> None:
    assert len(belongs(name, ("u1", ["a", "b"], [], None), ("u1", [], [], None))) == 2
