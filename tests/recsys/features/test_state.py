"""Features know the past and nothing else, and the same in every batch, order and process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalog import Catalog
from recsys.errors import BundleError
from recsys.events import Impression, Logged
from recsys.features import FeatureSet, FeatureState, snapshot
from recsys.features.tables import Tables
from recsys.lists import GivenHistory, Lists

Row = tuple[str, float, list[str], list[str]]
SHOP = ["tea", "mug", "pot", "saw", "axe", "new"]


@st.composite
def _logs(draw: st.DrawFn) -> list[Row]:
    """Random logs with ties in time, repeated items of a user, and lists without a click."""
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        shown = draw(st.lists(st.sampled_from(SHOP), min_size=1, max_size=5, unique=True))
        clicked = draw(st.lists(st.sampled_from(shown), max_size=3, unique=True))
        rows.append((draw(st.sampled_from(["ann", "bob", "cat"])), float(draw(st.integers(0, 6))), shown, clicked))
    return sorted(rows, key=lambda row: row[1])


def _figure(state: Any, lists: Lists, name: str) -> list[float]:
    names = state.feature_set.names if isinstance(state, FeatureState) else state.names
    return state.features(lists)[:, names.index(name)].tolist()


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.tobytes() == right.tobytes()


def test_items_are_counted_strictly_before_the_list(state: FeatureState, ask: Callable[..., Lists]) -> None:
    lists = ask("cat", 2, ["tea", "saw", "pot"])

    assert _figure(state, lists, "item_views") == [2.0, 2.0, 0.0]
    assert _figure(state, lists, "item_clicks") == [1.0, 1.0, 0.0]


def test_variety_counts_categories_whatever_their_keys_are_and_passes_over_items_without_one(
    as_of: Any, catalog: Catalog, table: Callable[..., pl.DataFrame], ask: Callable[..., Lists]
) -> None:
    for bought in (["tea", "saw", "new"], ["new", "mug", "axe"]):
        log = table([("ann", 0, bought, bought), ("bob", 0, ["tea", "mug", "new"], ["tea", "mug", "new"])])
        state = as_of(catalog, log)

        assert _figure(state, ask("ann", 1, ["pot"]), "user_variety") == [1.0]  # two categories of two
        assert _figure(state, ask("bob", 1, ["pot"]), "user_variety") == [0.5]  # one of two


def test_windows_forget(state: FeatureState, ask: Callable[..., Lists]) -> None:
    at = {name: _figure(state, ask("cat", 170, ["tea"]), name)[0] for name in ("item_views", "item_views_7d")}

    # shown at hours 0, 1 and 30, on May 1 and 2; hour 170 is on May 8, whose seven days begin with May 2
    assert at == {"item_views": 3.0, "item_views_7d": 1.0}
    assert _figure(state, ask("cat", 24.5, ["tea", "pot"]), "item_views_24h") == [1.0, 1.0]


def test_few_views_draw_a_rate_towards_everybodys(state: FeatureState, ask: Callable[..., Lists]) -> None:
    tea, pot = _figure(state, ask("cat", 2, ["tea", "pot"]), "item_rate")
    prior = (3 + 1) / (6 + 10)

    assert tea == pytest.approx((1 + 20 * prior) / (2 + 20), abs=1e-6)
    assert pot == pytest.approx(prior, abs=1e-6)


def test_counters_have_an_age(state: FeatureState, ask: Callable[..., Lists]) -> None:
    assert _figure(state, ask("cat", 29, ["tea", "mug"]), "counter_age") == [28.0, 27.0]
    assert np.isnan(_figure(state, ask("cat", 1, ["pot"]), "counter_age")).all()


def test_a_user_is_remembered(state: FeatureState, ask: Callable[..., Lists]) -> None:
    lists = ask("ann", 10, ["tea", "mug", "axe", "new"])

    assert _figure(state, lists, "user_views") == [6.0] * 4
    assert _figure(state, lists, "user_clicks") == [3.0] * 4
    assert _figure(state, lists, "seen_before") == [1.0, 2.0, 1.0, 0.0]
    assert _figure(state, lists, "clicked_before") == [1.0, 1.0, 0.0, 0.0]
    assert np.array_equal(_figure(state, lists, "hours_since_seen"), [10.0, 8.0, 8.0, np.nan], equal_nan=True)


def test_items_of_what_a_user_chose_taste_better(state: FeatureState, ask: Callable[..., Lists]) -> None:
    ann = ask("ann", 10, ["tea", "saw"])
    bob = ask("bob", 10, ["tea", "saw"])

    for name in ("user_category_rate", "user_category_taste", "user_category_excess", "user_price_taste"):
        (kitchen, tools), (bobs_kitchen, bobs_tools) = _figure(state, ann, name), _figure(state, bob, name)
        assert kitchen > tools, name
        assert bobs_tools > bobs_kitchen, name
    assert _figure(state, ann, "user_category_clicks") == [3.0, 0.0]
    assert _figure(state, ann, "user_category_share") == [1.0, 0.0]


def test_items_clicked_by_the_same_people_are_close(state: FeatureState, ask: Callable[..., Lists]) -> None:
    lists = ask("bob", 10, ["saw", "axe", "tea"])

    saw, axe, tea = _figure(state, lists, "co_clicks")

    assert saw == axe > tea == 0.0


def test_an_item_nobody_knows_has_gaps_and_no_error(state: FeatureState, ask: Callable[..., Lists]) -> None:
    table = state.features(ask("ann", 10, ["tea", "unheard-of"]))

    for name in ("item_views", "item_rate", "co_clicks", "price", "user_category_rate", "counter_age", "item_rate@z"):
        assert np.isnan(table[1, state.names.index(name)]), name
    assert table[1, state.names.index("user_clicks")] == 3.0


def test_a_known_item_that_was_never_shown_counts_zero(state: FeatureState, ask: Callable[..., Lists]) -> None:
    assert _figure(state, ask("ann", 10, ["new"]), "item_views") == [0.0]


def test_a_stranger_counts_zero(state: FeatureState, ask: Callable[..., Lists]) -> None:
    assert _figure(state, ask("nobody", 10, ["tea"]), "user_views") == [0.0]
    assert not state.knows("nobody")
    assert state.knows("ann")


def test_a_given_history_is_all_that_is_known_of_the_user(state: FeatureState, ask: Callable[..., Lists]) -> None:
    tools = GivenHistory(rows=np.array([3, 4], np.int32), actions=np.ones(2, np.int8), ts=np.zeros(2, np.int64))
    lists = ask("ann", 10, ["saw", "tea"], tools)

    assert _figure(state, lists, "user_clicks") == [2.0, 2.0]
    assert _figure(state, lists, "clicked_before") == [1.0, 0.0]
    assert np.isnan(_figure(state, lists, "hours_since_seen")).all()
    saw, tea = _figure(state, lists, "user_category_taste")
    assert saw > tea


@given(log=_logs(), future=_logs())
@settings(max_examples=40, deadline=None)
def test_nothing_at_or_after_a_lists_moment_changes_its_features(
    catalog: Catalog, table: Callable[..., pl.DataFrame], as_of: Any, log: list[Row], future: list[Row]
) -> None:
    now = log[-1][1] + 1
    later = [(user, hours + now, shown, clicked) for user, hours, shown, clicked in future]
    lists = Lists.from_impressions(table([*log, later[0]]), catalog)

    before = as_of(catalog, table(log)).features(lists)
    after = as_of(catalog, table([*log, *later])).features(lists)

    assert _same(before, after)


@given(log=_logs(), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_neither_company_nor_order_changes_a_candidates_features(
    catalog: Catalog, table: Callable[..., pl.DataFrame], as_of: Any, log: list[Row], seed: int
) -> None:
    state = as_of(catalog, table(log))
    lists = Lists.from_impressions(table(log), catalog)
    whole = state.features(lists)
    for place, (start, stop) in enumerate(pairwise(lists.offsets.tolist())):
        order = np.random.default_rng(seed).permutation(stop - start)
        alone = Lists(
            user_ids=lists.user_ids[place : place + 1],
            ts=lists.ts[place : place + 1],
            item_rows=lists.item_rows[start:stop][order],
            offsets=np.array([0, stop - start]),
            histories=[None],
            queries=[""],
            surfaces=[""],
        )
        assert _same(state.features(alone), whole[start:stop][order])


@given(log=_logs())
@settings(max_examples=20, deadline=None)
def test_a_snapshot_gives_the_same_bits(catalog: Catalog, table: Callable[..., pl.DataFrame], log: list[Row]) -> None:
    state = FeatureState.build(catalog, table(log))
    lists = Lists.from_impressions(table(log), catalog)

    copy = FeatureState.from_bytes(state.to_bytes(), catalog)

    assert copy.to_bytes() == state.to_bytes()
    assert _same(copy.features(lists), state.features(lists))
    assert _same(copy.histories(lists, 5, skips=True).rows, state.histories(lists, 5, skips=True).rows)


@pytest.mark.parametrize("piece", [1, 64, 700])
def test_a_snapshot_that_is_read_in_pieces_gives_the_same_bits(
    catalog: Catalog, table: Callable[..., pl.DataFrame], monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    log = [("ann", 1.0, ["tea", "pot"], ["tea"]), ("bob", 2.0, ["saw", "tea"], ["saw", "tea"])]
    state = FeatureState.build(catalog, table(log))

    monkeypatch.setattr(snapshot, "_PIECE", piece)

    assert FeatureState.from_bytes(state.to_bytes(), catalog).to_bytes() == state.to_bytes()


def test_while_a_snapshot_is_copied_learning_waits_and_asking_does_not(
    catalog: Catalog, ask: Callable[..., Lists], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, columns = FeatureState(catalog), snapshot.columns
    shown = Impression(event_id="e", request_id="r", user_id="ann", ts=1_714_564_800_000_000, item_ids=("tea",))
    learning = threading.Thread(target=state.hear, args=([Logged(sequence=1, event=shown)],))
    asking = threading.Thread(target=state.look, args=(ask("ann", 1, ["tea"]),))

    def copied_meanwhile(tables: Tables) -> Any:
        learning.start()
        asking.start()
        asking.join(60)
        learning.join(0.2)
        assert (learning.is_alive(), asking.is_alive()) == (True, False)
        return columns(tables)

    monkeypatch.setattr(snapshot, "columns", copied_meanwhile)
    written = snapshot.load(state.to_bytes())
    learning.join(60)

    assert written.tables.items.counts.sum() == 0
    assert state.heard == 1


def test_a_snapshot_can_be_read_with_a_catalog_that_has_grown(
    learned: FeatureState, catalog: Catalog, ask: Callable[..., Lists]
) -> None:
    extra = catalog.items.head(1).with_columns(pl.lit("cup").alias("item_id"), pl.lit("garden").alias("category"))
    grown = Catalog(pl.concat([extra, catalog.items]))
    lists = ask("ann", 10, ["tea", "saw"])
    moved = Lists(
        user_ids=lists.user_ids,
        ts=lists.ts,
        item_rows=grown.rows(["tea", "saw", "cup"]),
        offsets=np.array([0, 3]),
        histories=[None],
        queries=[""],
        surfaces=[""],
    )

    copy = FeatureState.from_bytes(learned.to_bytes(), grown)

    assert _figure(copy, moved, "item_views") == [*_figure(learned, lists, "item_views"), 0.0]
    assert _figure(copy, moved, "clicked_before")[:2] == [2.0, 0.0]


def test_unknown_ids_are_counted_up_to_a_limit_that_no_restart_and_no_new_item_moves(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.features.state.MOST_STRANGE_ITEMS", 2)
    growing = Catalog(catalog.items)
    state, first = FeatureState(growing), len(catalog)

    def shown(number: int, *items: str) -> list[Logged]:
        ts = 1_714_564_800_000_000
        event = Impression(event_id=f"e{number}", request_id=f"r{number}", user_id="ann", ts=ts, item_ids=items)
        return [Logged(sequence=number, event=event)]

    state.hear(shown(1, "tea", "a", "b", "c"))
    again = FeatureState.from_bytes(state.to_bytes(), growing)
    for each in (state, again):
        each.hear(shown(2, "d", "e"))
        assert each.bytes_by_table["items"][0] == first + 2

    rows = growing.append(catalog.items[:2].with_columns(item_id=pl.Series(["a", "cup"])))
    state.items_changed(rows)
    growing.publish(rows)
    state.hear(shown(3, "f", "g"))
    again = FeatureState.from_bytes(state.to_bytes(), growing)
    again.hear(shown(4, "h"))
    for each in (state, again):
        assert each.bytes_by_table["items"][0] == first + 4  # a, b, the cup, and one more in the place of a


def test_what_loops_read_of_a_log_is_writable_as_it_is_of_a_request(
    catalog: Catalog, table: Callable[..., pl.DataFrame], log: list[Row]
) -> None:
    lists = Lists.from_impressions(table(log), catalog)

    assert lists.ts.flags.writeable  # or what reads it would be compiled twice
    assert catalog.rows_of_column(pl.Series(["tea", "mug"] * 100)).flags.writeable


def test_an_item_is_what_it_was_last_changed_to_whichever_rows_it_has_had(
    catalog: Catalog, table: Callable[..., pl.DataFrame], log: list[Row], ask: Callable[..., Lists]
) -> None:
    tea = catalog.items[:1].with_columns(category=pl.lit("tools"))
    longer = (catalog.items.with_columns(item_id=pl.lit("x") + pl.col("item_id")), *[-1] * 6)
    last = tea.with_columns(brand=pl.lit("solo"), price=pl.lit(6.0))
    often = [
        (tea.with_columns(brand=pl.lit("reed"), price=pl.lit(3.0)), -1),
        (tea.with_columns(brand=pl.lit("clay"), price=pl.lit(4.0)), 0),
        (tea.with_columns(brand=pl.lit("iron"), price=pl.lit(5.0)), 6),
        (last, 0),
    ]

    def changed(*steps: Any) -> tuple[FeatureState, Lists]:
        changing = Catalog(catalog.items)
        state = FeatureState.build(changing, table(log))
        for items, *spare in steps:
            rows = changing.append(items, np.array(spare, np.int32))
            state.items_changed(rows)
            changing.publish(rows)
        assert len(changing) == 13
        asked = ask("ann", 300, [*catalog.ids, *catalog.ids])
        asked = replace(asked, item_rows=changing.rows([*catalog.ids, *changing.ids[7:]]))
        return state, asked

    state, asked = changed(*often, longer)
    state.follow("log", 5)
    recalled = state.fresh()
    assert recalled.recall(state.to_bytes(), "log") == 5
    plain, plainly = changed((last, -1), longer)

    assert _same(state.features(asked), plain.features(plainly))
    assert _same(recalled.features(asked), plain.features(plainly))
    late = FeatureState.from_bytes(state.to_bytes(), state.catalog)
    newest = [each.look(asked).seen.liked_row[0, 0] for each in (state, recalled, late, plain)]
    assert newest == [0, 0, 0, 6]


def test_a_snapshot_for_other_attributes_is_refused(learned: FeatureState, catalog: Catalog) -> None:
    other = Catalog(catalog.items.drop("brand"))

    with pytest.raises(BundleError, match="was built for features"):
        FeatureState.from_bytes(learned.to_bytes(), other)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_torn_snapshot_is_refused(learned: FeatureState, catalog: Catalog, share: float) -> None:
    data = learned.to_bytes()

    with pytest.raises(BundleError, match="damaged"):
        FeatureState.from_bytes(data[: int(len(data) * share)], catalog)


def test_a_state_that_has_heard_nothing_says_that_its_counters_are_missing(
    catalog: Catalog, table: Callable[..., pl.DataFrame], ask: Callable[..., Any]
) -> None:
    state = FeatureState.build(catalog, table([]))

    assert np.isnan(_figure(state, ask("ann", 1, ["tea", "saw"]), "item_views")).all()
    assert len(state.features(ask("ann", 1, []))) == 0


def test_position_is_no_feature(state: FeatureState) -> None:
    assert not [name for name in state.names if "position" in name]


def test_names_are_unique_and_say_which_rest_on_the_log(catalog: Catalog) -> None:
    features = FeatureSet(catalog)
    counters = dict(zip(features.names, features.counters.tolist(), strict=True))

    assert len(counters) == len(features.names)
    assert counters["item_rate"]
    assert counters["item_rate@z"]
    assert counters["user_category_taste"]
    assert not counters["price"]
    assert not counters["price@z"]
    assert not counters["item_age"]
