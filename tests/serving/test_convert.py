"""Requests and answers survive the wire; what the wire must refuse is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import InvalidRequest
from recsys.schema import (
    ACTIONS,
    Candidate,
    HistoryEntry,
    ItemText,
    RankedItem,
    RankedItems,
    Ranking,
    RankRequest,
    Reason,
    Rung,
    RungReason,
)
from serving.convert import (
    ranking_from_wire,
    ranking_to_wire,
    reasons_from_wire,
    reasons_wanted,
    request_from_wire,
    request_to_wire,
)
from serving.pb import ranking_pb2 as pb

NOW_US = 1_780_000_000_000_000

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TIMES = st.integers(31_536_000_000_000, NOW_US)
ITEM_TEXTS = st.builds(
    ItemText, title=TEXT, description=TEXT, category=TEXT, tags=st.lists(TEXT, max_size=3).map(tuple)
)
HISTORY = st.lists(
    st.builds(
        HistoryEntry,
        item_id=IDS,
        action=st.sampled_from([name for name in ACTIONS if name not in ("pad", "query")]),
        ts=st.just(0) | TIMES,
    ),
    max_size=4,
).map(tuple)
REQUESTS = st.builds(
    RankRequest,
    user_id=IDS,
    candidates=st.lists(
        st.builds(Candidate, item_id=IDS, text=st.none() | ITEM_TEXTS),
        max_size=5,
        unique_by=lambda candidate: candidate.item_id,
    ).map(tuple),
    ts=st.just(NOW_US),
    request_id=IDS,
    history=st.none() | HISTORY,
    query=TEXT,
    surface=TEXT,
    top_k=st.integers(0, 2_000),
)


@given(REQUESTS)
@settings(max_examples=200, deadline=None)
def test_a_request_survives_the_wire(request: RankRequest) -> None:
    data = request_to_wire(request).SerializeToString()

    assert request_from_wire(pb.RankRequest.FromString(data), now_us=1) == request


@given(REQUESTS)
@settings(max_examples=200, deadline=None)
def test_a_request_in_columns_is_the_same_request(request: RankRequest) -> None:
    message = request_to_wire(request, columns=True)

    assert bool(message.candidate_ids) == bool(request.candidates and not request.texts)
    assert request_from_wire(message, now_us=NOW_US) == request


def test_candidates_come_in_one_form_under_the_same_limits() -> None:
    both = pb.RankRequest(candidates=[pb.Candidate(item_id="a")], candidate_ids=["b"])

    with pytest.raises(InvalidRequest, match="both candidates and candidate_ids"):
        request_from_wire(both, now_us=NOW_US)
    with pytest.raises(InvalidRequest, match="no reasons for candidate_ids"):
        reasons_wanted(pb.RankRequest(candidate_ids=["b"], reasons_per_item=1))
    with pytest.raises(InvalidRequest, match="1001 candidates"):
        request_from_wire(pb.RankRequest(candidate_ids=map(str, range(1_001))), now_us=NOW_US)
    with pytest.raises(InvalidRequest, match="candidate 3 occurs twice"):
        request_from_wire(pb.RankRequest(candidate_ids=["b", "a", "b"]), now_us=NOW_US)
    with pytest.raises(InvalidRequest, match="item_id is empty"):
        request_from_wire(pb.RankRequest(candidate_ids=["b", ""]), now_us=NOW_US)


def test_an_absent_history_differs_from_an_empty_one() -> None:
    absent = pb.RankRequest(user_id="u")
    empty = pb.RankRequest(user_id="u", history=pb.History())

    assert request_from_wire(absent, now_us=NOW_US).history is None
    assert request_from_wire(empty, now_us=NOW_US).history == ()


def test_an_anonymous_visitor_has_no_history_but_the_one_sent() -> None:
    sent = pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry(item_id="a")]))

    assert request_from_wire(pb.RankRequest(), now_us=NOW_US).history == ()
    assert request_from_wire(sent, now_us=NOW_US).history == (HistoryEntry(item_id="a"),)


def test_time_and_request_id_are_filled_in_where_absent() -> None:
    one, other = (request_from_wire(pb.RankRequest(), now_us=NOW_US) for _ in range(2))

    assert one.ts == NOW_US
    assert len(one.request_id) == 32
    assert one.request_id != other.request_id


@pytest.mark.parametrize("time_us", [-1, 1, 1_780_000_000, 1_780_000_000_000, 1_780_000_000_000_000_000, 2**63 - 1])
def test_a_time_in_another_unit_is_refused(time_us: int) -> None:
    with pytest.raises(InvalidRequest, match="UTC microseconds"):
        request_from_wire(pb.RankRequest(time_us=time_us), now_us=NOW_US)
    with pytest.raises(InvalidRequest, match="UTC microseconds"):
        request_from_wire(
            pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry(item_id="a", time_us=time_us)])), now_us=NOW_US
        )


def test_a_history_entry_from_the_future_is_taken_as_now() -> None:
    message = pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry(item_id="a", time_us=NOW_US + 5)]))

    assert request_from_wire(message, now_us=NOW_US).history == (HistoryEntry(item_id="a", ts=NOW_US),)


def test_the_enum_names_the_domains_actions_at_their_codes() -> None:
    named = {code: name.removeprefix("ACTION_").lower() for name, code in pb.Action.items()}

    expected = {code: name for code, name in enumerate(ACTIONS) if name not in ("pad", "query")}
    assert named == {0: "unspecified", **expected}


@pytest.mark.parametrize("action", [-1, 7, 9, 2**31 - 1])
def test_an_action_outside_the_enum_is_refused(action: int) -> None:
    message = pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry(item_id="a", action=action)]))

    with pytest.raises(InvalidRequest, match=f"action {action} is unknown"):
        request_from_wire(message, now_us=NOW_US)


def test_candidates_and_history_are_counted_before_they_are_looked_at() -> None:
    # Their ids are empty, which is what would be complained of first.
    candidates = pb.RankRequest(candidates=[pb.Candidate()] * 1_001)
    history = pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry()] * 1_001))

    with pytest.raises(InvalidRequest, match="1001 candidates are more than 1000"):
        request_from_wire(candidates, now_us=NOW_US)
    with pytest.raises(InvalidRequest, match="history is longer than 1000"):
        request_from_wire(history, now_us=NOW_US)


@pytest.mark.parametrize("reasons", [-1, 21, 2**31 - 1])
def test_more_reasons_than_an_answer_can_hold_are_refused(reasons: int) -> None:
    with pytest.raises(InvalidRequest, match="send 0 to 20"):
        reasons_wanted(pb.RankRequest(reasons_per_item=reasons))


def test_a_query_is_not_sent_as_a_history_entry() -> None:
    request = RankRequest(user_id="u", candidates=(), ts=NOW_US, history=(HistoryEntry(item_id="a", action="query"),))

    with pytest.raises(InvalidRequest, match="cannot be a query"):
        request_to_wire(request)


def test_an_answer_survives_the_wire() -> None:
    ranking = Ranking(
        request_id="r",
        bundle_id="b",
        items=(
            RankedItem(item_id="ä", score=0.1 + 0.2, click_probability=0.25),
            RankedItem(item_id="b", score=-1e300, click_probability=0.0),
        ),
        text_coverage=0.5,
        unknown_items=("b",),
        unknown_user=True,
        stage_seconds={"trees": 0.001},
    )

    assert ranking_from_wire(ranking_to_wire(ranking, {}, per_item=0)) == ranking


@pytest.mark.parametrize("rung", list(Rung))
@pytest.mark.parametrize("reason", [None, *RungReason])
def test_the_rung_and_its_reason_survive_the_wire(rung: Rung, reason: RungReason | None) -> None:
    ranking = Ranking(request_id="r", bundle_id="b", items=(), text_coverage=1.0, rung=rung, rung_reason=reason)

    assert ranking_from_wire(ranking_to_wire(ranking, {}, per_item=0)) == ranking


def test_an_answer_of_before_there_were_rungs_is_a_full_one_and_rungs_of_tomorrow_are_no_error() -> None:
    assert ranking_from_wire(pb.RankResponse()).rung is Rung.FULL
    assert ranking_from_wire(pb.RankResponse(rung=99, rung_reason=99)).rung_reason is None  # type: ignore[arg-type]


def test_an_answer_in_columns_names_places_and_no_ids() -> None:
    ids = ["a", "b", "c"]
    items = RankedItems(ids, np.array([2, 0]), np.array([1.5, -0.25]), np.array([0.75, 0.125]))
    ranking = Ranking(request_id="r", bundle_id="b", items=items, text_coverage=1.0)
    one_by_one = replace(ranking, items=tuple(items))

    message = ranking_to_wire(ranking, {}, per_item=0, candidate_ids=ids)

    assert not message.items
    assert message.columns == pb.RankedColumns(places=[2, 0], scores=[1.5, -0.25], click_probabilities=[0.75, 0.125])
    assert ranking_to_wire(one_by_one, {}, per_item=0, candidate_ids=ids) == message
    assert ranking_from_wire(message, ids) == ranking


def test_reasons_are_cut_to_the_number_asked_for_and_may_be_missing_values() -> None:
    ranking = Ranking(
        request_id="r",
        bundle_id="b",
        items=(RankedItem(item_id="a", score=1.0, click_probability=0.5),),
        text_coverage=1.0,
    )
    first = Reason(feature="text", value=float("nan"), effect=0.75)
    second = Reason(feature="age", value=2.0, effect=-0.5)

    reasons = reasons_from_wire(ranking_to_wire(ranking, {"a": (first, second)}, per_item=1))

    assert [(reason.feature, reason.effect) for reason in reasons["a"]] == [("text", 0.75)]
    assert math.isnan(reasons["a"][0].value)


def test_tags_beyond_all_bounds_are_refused_before_there_is_an_object_of_each() -> None:
    candidate = pb.Candidate(item_id="a", text=pb.ItemText(title="T", tags=[""] * 500_000))
    with pytest.raises(InvalidRequest, match="500000 tags are more than 8192 bytes hold; send fewer"):
        request_from_wire(pb.RankRequest(user_id="u", candidates=[candidate]), now_us=1)
