"""A given history teaches as well: what was chosen next, against what others chose."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.features import Histories
from recsys.lists import GivenHistory, Lists
from recsys.schema import ACTION_CODE
from training.history_lists import HistoryLists
from training.text_lists import TextLists

PAD = 12
CLICK = ACTION_CODE["click"]


def lists_with(histories: list[list[int] | None], *, query_rows: list[int] | None = None) -> TextLists:
    """Build lists that came with these histories, newest first; None is one that the log was asked for."""
    count = len(histories)
    past = np.full((count, 5), -1, np.int32)
    for place, history in enumerate(histories):
        known = [9, 8] if history is None else history
        past[place, : len(known)] = known
    came = GivenHistory(rows=np.empty(0, np.int32), actions=np.empty(0, np.int8), ts=np.empty(0, np.int64))
    return TextLists(
        Lists(
            user_ids=["u"] * count,
            ts=np.arange(1, count + 1, dtype=np.int64),
            item_rows=np.tile(np.array([0, 1], np.int32), count),
            offsets=np.arange(count + 1, dtype=np.int64) * 2,
            histories=[None if history is None else came for history in histories],
            queries=[""] * count,
            surfaces=[""] * count,
        ),
        Histories(
            rows=past,
            actions=np.where(past >= 0, CLICK, 0).astype(np.int8),
            ages=np.where(past >= 0, 1.0 + np.arange(5), 0.0).astype(np.float32),
        ),
        np.tile(np.array([True, False]), count),
        pad=PAD,
        query_rows=np.array(query_rows or [-1] * count, np.int32),
        weight=np.arange(1, count + 1, dtype=np.float32),
    )


def beside(lists: TextLists, numbers: Any, *, negatives: int = 4, seed: int = 0) -> Any:
    every = np.arange(len(lists))
    return HistoryLists(lists, every, negatives=negatives).beside(np.array(numbers), np.random.default_rng(seed))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_choice_is_foretold_from_what_came_before_it(seed: int) -> None:
    lists = lists_with([[3, 4, 5, 6], [7, 2]])
    batch = beside(lists, [0, 1], seed=seed)

    for place, history in enumerate(([3, 4, 5, 6], [7, 2])):
        cut = history.index(batch.candidates[place, 0])
        before = [row for row in batch.history[place] if row < PAD]
        assert before == history[cut + 1 :]
        assert before
        assert batch.actions[place, : len(before)].tolist() == [CLICK] * len(before)
        assert not batch.actions[place, len(before) :].any()
        assert batch.ages[place, : len(before)].tolist() == [2.0 + cut + step for step in range(len(before))]
    assert batch.clicked.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]] * 2
    assert batch.weight.tolist() == [1.0, 2.0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_what_is_drawn_against_it_was_chosen_by_somebody_and_is_not_it(seed: int) -> None:
    batch = beside(lists_with([[3, 4, 5], [7, 2], None]), [0, 1], negatives=30, seed=seed)

    assert set(batch.candidates[:, 1:].ravel().tolist()) <= {3, 4, 5, 7, 2, PAD}
    assert not (batch.candidates[:, 1:] == batch.candidates[:, :1]).any()


def test_only_given_histories_of_two_or_more_are_used() -> None:
    lists = lists_with([None, [3], [], [4, 5]])

    assert beside(lists, [0, 1, 2, 3]).weight.tolist() == [4.0]
    assert beside(lists, [0, 1, 2]) is None
    assert beside(lists, [3], negatives=0) is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_query_is_neither_the_choice_nor_drawn_nor_counted(seed: int) -> None:
    lists = lists_with([[3, 4], [5], [6, 7]], query_rows=[11, 11, -1])
    batch = beside(lists, [0, 1, 2], negatives=20, seed=seed)

    assert batch.weight.tolist() == [1.0, 3.0]
    assert batch.candidates[:, 0].tolist() == [3, 6]
    assert 11 not in batch.candidates
    assert 11 not in batch.history
