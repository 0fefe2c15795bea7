"""Lists become rectangles, and an item finds the lists that teach something about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.features import Histories
from recsys.lists import Lists
from recsys.schema import ACTION_CODE
from training.text_lists import ItemIndex, TextLists

PAD = 20
CLICK, QUERY = ACTION_CODE["click"], ACTION_CODE["query"]


def lists_of(rows: list[list[int]], clicked: list[list[int]], history: list[list[int]], **given: Any) -> TextLists:
    """Build lists from literal rows; -1 is an item that the catalog does not know."""
    width = max([len(part) for part in history] + [2])
    past = np.array([part + [-1] * (width - len(part)) for part in history], np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in rows])]).astype(np.int64)
    count = len(rows)
    return TextLists(
        Lists(
            user_ids=["u"] * count,
            ts=np.arange(1, count + 1, dtype=np.int64),
            item_rows=np.array([item for part in rows for item in part], np.int32),
            offsets=offsets,
            histories=[None] * count,
            queries=[""] * count,
            surfaces=[""] * count,
        ),
        Histories(
            rows=past,
            actions=np.where(past >= 0, CLICK, 0).astype(np.int8),
            ages=np.where(past >= 0, 3.0, 0.0).astype(np.float32),
        ),
        np.array([bool(hit) for part in clicked for hit in part]),
        pad=PAD,
        query_rows=np.array(given.get("query_rows", [-1] * count), np.int32),
        weight=np.ones(count, np.float32),
    )


def test_a_batch_is_padded_with_the_row_after_the_last_text() -> None:
    lists = lists_of([[1, -1, 3], [4]], [[0, 1, 1], [1]], [[7], []])
    batch = lists.batch(np.array([1, 0]))

    assert batch.candidates.tolist() == [[4, PAD, PAD], [1, PAD, 3]]
    assert batch.clicked.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert batch.history.tolist() == [[PAD, PAD], [7, PAD]]
    assert batch.actions.tolist() == [[0, 0], [CLICK, 0]]


def test_rows_name_the_items_of_lists_in_the_order_asked() -> None:
    lists = lists_of([[1, 2, 3], [4], [5, 6]], [[0, 1, 1], [1], [0, 0]], [[], [], []])

    assert lists.items[lists.rows(np.array([2, 0]))].tolist() == [5, 6, 1, 2, 3]
    assert lists.rows(np.array([], np.int64)).tolist() == []


@settings(max_examples=50, deadline=None)
@given(hits=st.sets(st.integers(0, 11), max_size=4), shown=st.integers(4, 12), seed=st.integers(0, 2**31))
def test_cutting_keeps_every_clicked_item_and_fills_up_with_others(hits: set[int], shown: int, seed: int) -> None:
    lists = lists_of([list(range(12)), [1, 2]], [[int(i in hits) for i in range(12)], [1, 0]], [[], []])
    batch = lists.batch(np.array([0, 1]), shown=shown, rng=np.random.default_rng(seed))
    kept = batch.candidates[0].tolist()

    assert batch.candidates.shape == (2, shown)
    assert len(set(kept)) == shown
    assert {item for item, hit in zip(kept, batch.clicked[0], strict=True) if hit} == hits
    assert sorted(batch.candidates[1].tolist()) == sorted([1, 2] + [PAD] * (shown - 2))


def test_a_draw_needs_a_generator() -> None:
    lists = lists_of([[1, 2, 3]], [[0, 0, 1]], [[]])

    with pytest.raises(ValueError, match="generator"):
        lists.batch(np.array([0]), shown=2)


def test_a_query_comes_first_in_the_history_and_pushes_the_oldest_out() -> None:
    lists = lists_of([[1], [2]], [[1], [1]], [[7, 8], [9, 6]], query_rows=[19, -1])

    assert lists.history.tolist() == [[19, 7], [9, 6]]
    assert lists.actions.tolist() == [[QUERY, CLICK], [CLICK, CLICK]]
    assert lists.ages.tolist() == [[0, 3], [3, 3]]


def test_an_item_touches_the_lists_that_show_it_or_have_it_in_their_history() -> None:
    lists = lists_of(
        [[1, 2], [3, 4], [5, 1], [6, 7], [1, 9]], [[1, 0], [0, 1], [1, 0], [0, 0], [0, 1]], [[], [], [], [1], []]
    )
    index = ItemIndex(lists, np.array([0, 1, 2, 3]))
    rng = np.random.default_rng(0)

    def touching(*items: int) -> list[int]:
        return [int(place) for place in index.touching(np.array(items), 10, rng, clicked_share=0.5)]

    assert touching(1) == [0, 2, 3]
    assert touching(4) == [1]
    assert touching(9, 8) == []


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), limit=st.integers(1, 12), share=st.floats(0, 1))
def test_a_draw_holds_touching_lists_only_each_once(seed: int, limit: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, PAD, (30, 4))
    lists = lists_of(rows.tolist(), rng.integers(0, 2, (30, 4)).tolist(), rng.integers(0, PAD, (30, 3)).tolist())
    chosen = np.sort(rng.choice(30, 20, replace=False))
    items = rng.choice(PAD, 3, replace=False)
    drawn = ItemIndex(lists, chosen).touching(items, limit, rng, clicked_share=share)
    touching = [
        place
        for place in chosen
        if np.isin(lists.items[lists.rows(np.array([place]))], items).any()
        or np.isin(lists.history[place], items).any()
    ]

    assert len(drawn) == min(limit, len(touching))
    assert drawn.tolist() == sorted(set(drawn.tolist()) & {int(place) for place in touching})


@pytest.fixture
def shown_often() -> ItemIndex:
    """Forty lists that show item 1; every fifth clicked it."""
    lists = lists_of([[1, 2]] * 40, [[int(place % 5 == 0), 0] for place in range(40)], [[]] * 40)
    return ItemIndex(lists, np.arange(40))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_lists_that_clicked_an_item_fill_their_share_of_a_draw(shown_often: ItemIndex, share: float) -> None:
    drawn = shown_often.touching(np.array([1]), 8, np.random.default_rng(0), clicked_share=share)

    assert int((drawn % 5 == 0).sum()) == 8 * share
