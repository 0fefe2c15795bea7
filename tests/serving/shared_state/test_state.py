"""A shared state knows what the one in this process knows: the same tests for both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.catalog import Catalog
from recsys.features import FeatureState
from recsys.features.windows import WINDOW_NAMES
from recsys.lists import GivenHistory
from recsys.schema import ACTION_CODE

_EVER = WINDOW_NAMES.index("ever")
_HOURS, _DAYS = 60, 24 * 60


def test_nothing_is_known_before_anything_was_heard(store: Any, ask: Any) -> None:
    context = store.look(ask("ann", 0, ["tea", "saw"]))

    assert np.isnan(context.seen.age).all()
    assert np.isnan(context.seen.item).all()
    assert context.known_users.tolist() == [False]
    assert not context.missing


def test_what_is_heard_is_known_to_the_next_list(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea", "saw"]), make.clicked("r1", "saw", 1)))

    context = store.look(ask("ann", 2, ["tea", "saw", "pot"]))

    assert context.seen.item[:, _EVER].tolist() == [[1, 0], [1, 1], [0, 0]]
    assert context.seen.category[:, _EVER].tolist() == [[1, 0], [1, 1], [1, 0]]
    assert context.seen.surface[0, _EVER].tolist() == [2, 1]
    assert context.seen.user[0, _EVER].tolist() == [2, 1]
    assert context.known_users.tolist() == [True]


def test_a_user_is_remembered_newest_first(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(
        event_log.add(
            make.shown("r1", "ann", 0, ["tea", "saw", "mug"]),
            make.clicked("r1", "saw", 1),
            make.did("ann", "mug", "cart", 2),
            make.did("ann", "axe", "hide", 3),
        )
    )

    seen = store.look(ask("ann", 4, ["tea"])).seen

    assert seen.liked_row[0, :3].tolist() == [1, 3, -1]
    assert seen.liked_action[0, :3].tolist() == [ACTION_CODE["cart"], ACTION_CODE["click"], 0]
    assert seen.disliked_row[0, :4].tolist() == [4, 1, 0, -1]
    assert seen.choice[0, :2].tolist() == [[1, 0], [1, 1]]  # what everybody did with the mug and the saw


def test_another_users_past_is_not_shown(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"]), make.clicked("r1", "tea", 1)))

    context = store.look(ask("bob", 2, ["tea"]))

    assert context.seen.user[0, _EVER].tolist() == [0, 0]
    assert (context.seen.liked_row == -1).all()
    assert context.known_users.tolist() == [False]


@pytest.mark.parametrize(
    ("minutes", "views"),
    [
        (4, [1, 1, 1, 1, 1, 1]),
        (59, [None, 1, 1, 1, 1, 1]),
        (23 * _HOURS, [None, None, 1, 1, 1, 1]),
        (6 * _DAYS, [None, None, None, 1, 1, 1]),
        (29 * _DAYS, [None, None, None, None, 1, 1]),
    ],
)
def test_windows_forget_and_are_missing_when_everything_is_old(
    store: Any, event_log: Any, make: Any, ask: Any, minutes: float, views: list[float | None]
) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))

    found = store.look(ask("ann", minutes, ["tea"])).seen.item[0, :, 0].tolist()

    assert [None if np.isnan(count) else count for count in found] == views


def test_windows_forget_while_others_are_shown(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"]), make.shown("r2", "bob", 3 * _HOURS, ["saw"])))

    assert store.look(ask("ann", 3 * _HOURS, ["tea"])).seen.item[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1]


def test_a_late_event_counts_where_its_moment_belongs(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.did("ann", "tea", "cart", 60)))
    store.hear(event_log.add(make.did("ann", "saw", "cart", 30), make.shown("r1", "bob", 10, ["pot"])))

    seen = store.look(ask("ann", 61, ["pot"])).seen

    assert seen.liked_row[0, :2].tolist() == [0, 3]
    assert seen.item[0, :2, 0].tolist() == [0, 1]  # five minutes, an hour


def test_at_the_same_moment_the_later_told_is_the_newer(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.did("ann", "tea", "cart", 5), make.did("ann", "saw", "cart", 5)))
    store.hear(event_log.add(make.did("ann", "pot", "cart", 5)))

    assert store.look(ask("ann", 6, ["tea"])).seen.liked_row[0, :4].tolist() == [2, 3, 0, -1]


def test_items_clicked_by_the_same_people_share_clicks(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    for user in ("ann", "bob"):
        store.hear(event_log.add(make.shown(f"r-{user}", user, 0, ["tea", "saw"]), make.clicked(f"r-{user}", "tea", 1)))
        store.hear(event_log.add(make.clicked(f"r-{user}", "saw", 2)))
    store.hear(event_log.add(make.did("cat", "tea", "cart", 3)))

    shared = store.look(ask("cat", 4, ["saw", "axe"])).seen.shared

    assert shared[0].tolist() == pytest.approx([2 / 7, 2 / 7, 2 / 12])
    assert shared[1].tolist() == [0, 0, 0]


def test_places_make_clicks_expected(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea", "saw"]), make.clicked("r1", "tea", 1)))
    store.hear(event_log.add(make.shown("r2", "bob", 2, ["pot", "saw"])))

    first, second = store.look(ask("ann", 3, ["pot", "saw"])).seen.item_expected

    # 100 views of average success, and the first place had one click in one view
    assert first == pytest.approx((1 + 100 * 2 / 12) / 101, abs=1e-6)
    assert second == pytest.approx(0.1 + (100 * 2 / 12) / 101, abs=1e-6)


def test_an_item_that_nobody_knows_is_counted_until_the_catalog_knows_it(
    new_store: Callable[..., Any], event_log: Any, make: Any, ask: Any, catalog: Catalog
) -> None:
    growing = Catalog(catalog.items)
    store = new_store(growing)
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea", "hat"]), make.clicked("r1", "hat", 1)))

    before = store.look(ask("ann", 2, ["hat"], catalog=growing)).seen
    assert before.item[0, _EVER].tolist() == [0, 0]
    assert before.liked_row[0, 0] == -1

    rows = growing.append(growing.items[:1].with_columns(item_id=pl.lit("hat"), category=pl.lit("clothes")))
    store.items_changed(rows)
    growing.publish(rows)
    store.hear(event_log.add(make.shown("r2", "ann", 3, ["hat"])))

    after = store.look(ask("ann", 4, ["hat"], catalog=growing)).seen
    assert after.item[0, _EVER].tolist() == [2, 1]
    assert after.category[0, _EVER].tolist() == [1, 0]
    assert after.liked_row[0, 0] == 6


def test_an_anonymous_visitor_counts_for_the_items_alone(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "", 0, ["tea"], surface=""), make.clicked("r1", "tea", 1)))

    context = store.look(ask("", 2, ["tea"], surface=""))

    assert context.seen.item[0, _EVER].tolist() == [1, 1]
    assert context.seen.user[0, _EVER].tolist() == [0, 0]
    assert context.seen.surface[0, _EVER].tolist() == [0, 0]
    assert context.known_users.tolist() == [False]


def test_a_given_history_replaces_what_is_known(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea", "saw"]), make.clicked("r1", "tea", 1)))
    actions = np.array([ACTION_CODE["click"], ACTION_CODE["hide"], ACTION_CODE["cart"]], np.int8)
    given = GivenHistory(rows=np.array([3, 0, -1], np.int32), actions=actions, ts=np.zeros(3, np.int64))

    context = store.look(ask("ann", 2, ["tea"], history=given))

    assert context.seen.liked_row[0, :3].tolist() == [-1, 3, -1]
    assert context.seen.choice[0, 1].tolist() == [1, 0]
    assert context.seen.disliked_row[0, :2].tolist() == [0, -1]
    assert context.seen.choice[0, 32].tolist() == [1, 1]
    assert context.known_users.tolist() == [True]


def test_no_candidates_are_no_error(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))

    assert store.look(ask("ann", 1, [])).seen.item.shape[0] == 0


def test_a_restart_forgets_nothing(store: Any, event_log: Any, make: Any, ask: Any, reopened: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea", "saw"]), make.clicked("r1", "saw", 1)))

    again = reopened(store)
    again.hear(event_log.add(make.clicked("r1", "tea", 2)))

    seen = again.look(ask("ann", 3, ["tea", "saw"])).seen
    assert seen.item[:, _EVER].tolist() == [[1, 1], [1, 1]]
    assert seen.liked_row[0, :3].tolist() == [0, 3, -1]


def test_asking_and_hearing_at_once_is_safe(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    told = [event_log.add(make.shown(f"r{n}", "ann", 0, ["tea"]), make.clicked(f"r{n}", "tea", 0)) for n in range(40)]
    torn, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            counts = store.look(ask("ann", 1, ["tea"])).seen
            views, clicks = np.nan_to_num(counts.item[0, _EVER])
            torn.extend([(views, clicks)] if views != clicks or np.isnan(counts.age) != (views == 0) else [])

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for pair in told:
        store.hear(pair)
    done.set()
    for thread in threads:
        thread.join()

    assert torn == []
    assert store.look(ask("ann", 1, ["tea"])).seen.item[0, _EVER].tolist() == [40, 40]


@pytest.fixture
def reopened(open_state: Callable[..., Any], catalog: Catalog) -> Any:
    """Give what a new process would have: of the memory, its snapshot; of the store, another connection."""
    opened: list[Any] = []

    def reopen(store: Any) -> Any:
        if isinstance(store, FeatureState):
            return FeatureState.from_bytes(store.to_bytes(), catalog)
        opened.append(open_state(store.settings.prefix))
        return opened[-1]

    yield reopen
    for state in opened:
        state.close()
