"""Events survive the wire, and a malformed one is rejected alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidRequest
from recsys.events import INTERACTIONS, Click, Event, Impression, Interaction
from serving.convert_events import (
    MAX_EVENTS,
    check_count,
    event_to_wire,
    events_from_wire,
    recorded_from_wire,
    recorded_to_wire,
    stream_to_wire,
    streamed_from_wire,
    streamed_to_wire,
)
from serving.event_intake import _portions
from serving.pb import ranking_pb2 as pb
from serving.recorded import Recorded, Rejected, RejectionReason

NOW = 1_780_000_000_000_000

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
TIMES = st.integers(1, 2**62)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Impression,
        event_id=IDS,
        request_id=IDS,
        user_id=TEXTS,
        ts=TIMES,
        item_ids=st.lists(IDS, min_size=1, max_size=5, unique=True).map(tuple),
        surface=TEXTS,
        query=TEXTS,
    ),
    st.builds(Click, event_id=IDS, request_id=IDS, item_id=IDS, ts=TIMES),
    st.builds(Interaction, event_id=IDS, user_id=IDS, item_id=IDS, type=st.sampled_from(INTERACTIONS), ts=TIMES),
)


@given(events=st.lists(EVENTS, max_size=6), chunk=st.integers(1, 4), most_bytes=st.sampled_from([1, 60, 10_000]))
def test_events_come_through_the_wire_unchanged(events: list[Event], chunk: int, most_bytes: int) -> None:
    messages = list(stream_to_wire(events, chunk=chunk, most_bytes=most_bytes))
    sent = [pb.StreamEventsRequest.FromString(message.SerializeToString()) for message in messages]
    read = [events_from_wire(message.events, first=0, now_us=NOW) for message in sent]

    assert [event for part in read for event in part.events] == events
    assert [part.rejected for part in read] == [[]] * len(read)
    assert all(0 < len(message.events) <= chunk for message in sent)
    assert all(len(message.events) == 1 or message.ByteSize() <= most_bytes * 1.5 for message in sent)


def test_an_event_without_a_time_happened_now() -> None:
    message = pb.Event(event_id="e", click=pb.Click(request_id="r", item_id="a"))

    assert events_from_wire([message], first=0, now_us=NOW).events == [
        Click(event_id="e", request_id="r", item_id="a", ts=NOW)
    ]


LIST = pb.Impression(request_id="r", item_ids=["a"])


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (pb.Event(impression=LIST), "event_id is empty; send a non-empty id"),
        (pb.Event(event_id="e"), "does not say what happened; set its impression, click or interaction"),
        (pb.Event(event_id="e" * 129, impression=LIST), "event_id is longer than 128 bytes"),
        (pb.Event(event_id="é" * 65, impression=LIST), "event_id is longer than 128 bytes"),
        (pb.Event(event_id="e", impression=pb.Impression(item_ids=["a"])), "request_id is empty"),
        (pb.Event(event_id="e", impression=pb.Impression(request_id="r")), "shows 0 items; send 1 to 1000"),
        (pb.Event(event_id="e", impression=pb.Impression(request_id="r", item_ids=["a"] * 1_001)), "shows 1001 items"),
        (pb.Event(event_id="e", impression=pb.Impression(request_id="r", item_ids=["a", "a"])), "an item twice"),
        (pb.Event(event_id="e", impression=pb.Impression(request_id="r", item_ids=[""])), "item_id is empty"),
        (pb.Event(event_id="e", impression=pb.Impression(request_id="r", item_ids=["a"], query="q" * 8_193)), "query"),
        (pb.Event(event_id="e", click=pb.Click(request_id="r")), "item_id is empty"),
        (pb.Event(event_id="e", interaction=pb.Interaction(item_id="a", action=pb.ACTION_CART)), "user_id is empty"),
        (pb.Event(event_id="e", interaction=pb.Interaction(user_id="u", item_id="a")), "cannot be 'click'; use one of"),
        (
            pb.Event(event_id="e", interaction=pb.Interaction(user_id="u", item_id="a", action=pb.ACTION_SKIP)),
            "cannot be 'skip'",
        ),
        (
            pb.Event(event_id="e", interaction=pb.Interaction(user_id="u", item_id="a", action=7)),  # type: ignore[arg-type]
            "cannot be 'action 7'",
        ),
    ],
)
def test_a_malformed_event_is_rejected_with_its_reason_and_the_others_are_taken(message: pb.Event, says: str) -> None:
    good = pb.Event(event_id="good", time_us=NOW, impression=LIST)

    read = events_from_wire([good, message, good], first=40, now_us=NOW)

    (rejected,) = read.rejected
    told = (41, message.event_id[:128], RejectionReason.MALFORMED)
    assert (rejected.position, rejected.event_id, rejected.reason) == told
    assert says in rejected.message
    assert (len(read.events), read.positions) == (2, [40, 42])


def test_more_events_than_a_message_may_have_are_refused_as_a_whole() -> None:
    check_count([pb.Event()] * MAX_EVENTS)
    with pytest.raises(InvalidRequest, match="10001 events are more than 10000; send fewer at a time, or stream them"):
        check_count([pb.Event()] * (MAX_EVENTS + 1))


def test_every_interaction_has_its_action() -> None:
    sent = [Interaction(event_id=name, user_id="u", item_id="a", type=name, ts=NOW) for name in INTERACTIONS]

    assert events_from_wire([event_to_wire(event) for event in sent], first=0, now_us=NOW).events == sent


def test_what_became_of_events_comes_through_the_wire_unchanged() -> None:
    rejected = tuple(
        Rejected(position=n, event_id=f"e{n}", reason=reason, message="because")
        for n, reason in enumerate(RejectionReason)
    )
    recorded = Recorded(accepted=5, duplicates=3, rejected=rejected, rejected_count=len(rejected), sequence=17)

    assert recorded_from_wire(recorded_to_wire(recorded)) == recorded
    assert streamed_from_wire(streamed_to_wire(recorded)) == recorded


def test_an_event_that_is_told_back_is_not_told_back_whole() -> None:
    message = pb.Event(event_id="x" * 1_000_000, click=pb.Click(request_id="r", item_id="i"))
    (rejected,) = events_from_wire([message], first=5, now_us=NOW).rejected

    assert (rejected.position, rejected.event_id) == (5, "x" * 128)


@given(sizes=st.lists(st.integers(0, 1_000), max_size=300))
def test_portions_are_of_like_work_and_leave_nothing_out(sizes: list[int]) -> None:
    events = [pb.Event(impression=pb.Impression(item_ids=["i"] * size)) for size in sizes]
    portions = list(_portions(events))

    assert [place for begin, end in portions for place in range(begin, end)] == list(range(len(events)))
    for begin, end in portions:
        work = [1 + size // 50 for size in sizes[begin:end]]
        assert sum(work[:-1]) < 200
