"""A history is what the user did last, newest first, from the log or as given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.catalog import Catalog
from recsys.features import FeatureState
from recsys.lists import GivenHistory, Lists
from recsys.schema import ACTION_CODE

CLICK, SKIP, HIDE, CART = (ACTION_CODE[name] for name in ("click", "skip", "hide", "cart"))


def _names(catalog: Catalog, rows: np.ndarray) -> list[str]:
    return [catalog.ids[row] if row >= 0 else "-" for row in rows]


def test_clicks_come_newest_first_with_their_ages(
    state: FeatureState, catalog: Catalog, ask: Callable[..., Lists]
) -> None:
    found = state.histories(ask("ann", 3, ["tea"]), 4, skips=False)

    assert _names(catalog, found.rows[0]) == ["mug", "pot", "tea", "-"]
    assert found.actions[0].tolist() == [CLICK, CLICK, CLICK, 0]
    assert found.ages[0].tolist() == [1.0, 1.0, 3.0, 0.0]


def test_a_list_does_not_know_what_happens_at_its_own_moment(state: FeatureState, ask: Callable[..., Lists]) -> None:
    assert (state.histories(ask("ann", 0, ["tea"]), 4, skips=True).rows == -1).all()


def test_what_was_shown_in_vain_stands_between_by_time_after_the_clicks(
    state: FeatureState, catalog: Catalog, ask: Callable[..., Lists]
) -> None:
    found = state.histories(ask("ann", 3, ["tea"]), 8, skips=True)

    assert _names(catalog, found.rows[0]) == ["mug", "pot", "axe", "tea", "saw", "mug", "-", "-"]
    assert found.actions[0].tolist() == [CLICK, CLICK, SKIP, CLICK, SKIP, SKIP, 0, 0]
    assert np.isfinite(found.ages).all()


def test_a_short_history_keeps_the_newest(state: FeatureState, catalog: Catalog, ask: Callable[..., Lists]) -> None:
    found = state.histories(ask("ann", 3, ["tea"]), 2, skips=True)

    assert _names(catalog, found.rows[0]) == ["mug", "pot"]


def test_a_given_history_replaces_the_log(state: FeatureState, catalog: Catalog, ask: Callable[..., Lists]) -> None:
    lists = ask("ann", 3, ["tea"])
    given = GivenHistory(
        rows=np.array([3, -1, 4, 0], np.int32),
        actions=np.array([CLICK, CART, HIDE, CLICK], np.int8),
        ts=np.array([lists.ts[0] - 7_200_000_000, 0, lists.ts[0] - 1, 0]),
    )

    liked = state.histories(ask("ann", 3, ["tea"], given), 4, skips=False)
    both = state.histories(ask("ann", 3, ["tea"], given), 4, skips=True)

    assert _names(catalog, liked.rows[0]) == ["tea", "-", "saw", "-"]
    assert liked.actions[0].tolist() == [CLICK, CART, CLICK, 0]
    assert liked.ages[0].tolist() == [-1.0, -1.0, 2.0, 0.0]  # -1 says that nobody knows when
    assert HIDE in both.actions[0].tolist()


def test_an_empty_given_history_is_none(state: FeatureState, ask: Callable[..., Lists]) -> None:
    nothing = GivenHistory(rows=np.array([], np.int32), actions=np.array([], np.int8), ts=np.array([], np.int64))

    assert (state.histories(ask("ann", 3, ["tea"], nothing), 4, skips=True).rows == -1).all()


@pytest.mark.parametrize("user", ["nobody", ""])
def test_a_stranger_has_no_history(state: FeatureState, ask: Callable[..., Lists], user: str) -> None:
    assert (state.histories(ask(user, 300, ["tea"]), 4, skips=True).actions == 0).all()


def test_other_events_join_the_history_with_their_own_action(
    catalog: Catalog, table: Callable[..., pl.DataFrame], log: Any, ask: Callable[..., Lists], as_of: Any
) -> None:
    shown = table(log)
    events = pl.DataFrame(
        {
            "event_id": ["e1", "e2", "e3"],
            "user_id": ["ann", "dan", "ann"],
            "item_id": ["axe", "saw", "unheard-of"],
            "type": ["purchase", "whistle", "click"],
            "ts": [shown["ts"][2] + timedelta(minutes=30)] * 3,
        }
    )
    state = as_of(catalog, shown, events)

    ann = state.histories(ask("ann", 3, ["tea"]), 3, skips=False)
    dan = state.histories(ask("dan", 3, ["tea"]), 2, skips=False)

    # an item that the catalog does not know keeps its place, in case it becomes known
    assert _names(catalog, ann.rows[0]) == ["-", "axe", "mug"]
    assert ann.actions[0].tolist() == [CLICK, ACTION_CODE["purchase"], CLICK]
    assert dan.actions[0].tolist() == [ACTION_CODE["other"], 0]
    assert state.knows("dan")
