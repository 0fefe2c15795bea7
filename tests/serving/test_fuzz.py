"""Whatever is sent, the answer is OK or the caller's fault, and the server lives."""

from __future__ import annotations

from typing import Any

import grpc
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.listen import SERVICE
from serving.pb import ranking_pb2 as pb

MODEST = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

STRINGS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["", "a", "x" * 128, "é" * 65])
LONG = STRINGS | st.sampled_from(["y" * 8_192, "y" * 8_193])
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1_780_000_000_000_000])
INT32 = st.integers(-(2**31), 2**31 - 1) | st.integers(-1, 25)

ITEM_TEXTS = st.builds(
    pb.ItemText, title=LONG, description=STRINGS, category=STRINGS, tags=st.lists(STRINGS, max_size=3)
)
CANDIDATES = st.builds(pb.Candidate, item_id=STRINGS, text=st.none() | ITEM_TEXTS)
ENTRIES = st.builds(pb.HistoryEntry, item_id=STRINGS, action=INT32, time_us=INT64)
REQUESTS = st.builds(
    pb.RankRequest,
    request_id=STRINGS,
    user_id=STRINGS,
    candidates=st.lists(CANDIDATES, max_size=4),
    history=st.none() | st.builds(pb.History, entries=st.lists(ENTRIES, max_size=3)),
    query=LONG,
    surface=STRINGS,
    time_us=INT64,
    top_k=INT32,
    reasons_per_item=INT32,
)

# One of everything, so that a mutation can reach every field.
FULL = pb.RankRequest(
    request_id="r",
    user_id="u",
    candidates=[pb.Candidate(item_id="a", text=pb.ItemText(title="t", tags=["g"])), pb.Candidate(item_id="b")],
    history=pb.History(entries=[pb.HistoryEntry(item_id="h", action=pb.ACTION_CART, time_us=1_700_000_000_000_000)]),
    query="q",
    surface="s",
    time_us=1_780_000_000_000_000,
    top_k=1,
    reasons_per_item=2,
).SerializeToString()


EVENTS = st.builds(
    pb.Event,
    event_id=STRINGS,
    time_us=INT64,
    impression=st.none()
    | st.builds(pb.Impression, request_id=STRINGS, user_id=STRINGS, item_ids=st.lists(STRINGS, max_size=4), query=LONG),
    click=st.none() | st.builds(pb.Click, request_id=STRINGS, item_id=STRINGS),
    interaction=st.none() | st.builds(pb.Interaction, user_id=STRINGS, item_id=STRINGS, action=INT32),
)
RECORDINGS = st.builds(pb.RecordEventsRequest, events=st.lists(EVENTS, max_size=5))


def code_of(address: str, data: bytes, method: str = "Rank") -> StatusCode:
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(f"/{SERVICE}/{method}")(data, timeout=10)
        except grpc.RpcError as error:
            return error.code()
    return StatusCode.OK


@given(request=REQUESTS)
@MODEST
def test_any_message_is_answered_or_refused(running: Any, request: pb.RankRequest) -> None:
    assert code_of(running.address, request.SerializeToString()) in (StatusCode.OK, StatusCode.INVALID_ARGUMENT)


@given(data=st.binary(max_size=200))
@MODEST
def test_any_bytes_are_answered_or_refused(running: Any, data: bytes) -> None:
    try:
        pb.RankRequest.FromString(data)
        expected = (StatusCode.OK, StatusCode.INVALID_ARGUMENT)
    except Exception:  # noqa: BLE001 - DecodeError, or whatever else a parser says of bytes that are no message
        expected = (StatusCode.INVALID_ARGUMENT,)

    assert code_of(running.address, data) in expected


@given(data=st.data())
@MODEST
def test_any_edit_of_a_good_message_is_answered_or_refused(running: Any, data: st.DataObject) -> None:
    edited = bytearray(FULL)
    for _ in range(data.draw(st.integers(1, 4))):
        edited[data.draw(st.integers(0, len(edited) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(edited)))

    assert code_of(running.address, bytes(edited[:cut])) in (StatusCode.OK, StatusCode.INVALID_ARGUMENT)


@given(request=RECORDINGS)
@MODEST
def test_any_events_are_taken_or_rejected_one_by_one(recording: Any, request: pb.RecordEventsRequest) -> None:
    assert code_of(recording.address, request.SerializeToString(), "RecordEvents") is StatusCode.OK


@given(data=st.binary(max_size=100))
@MODEST
def test_any_bytes_are_recorded_or_refused(recording: Any, data: bytes) -> None:
    assert code_of(recording.address, data, "RecordEvents") in (StatusCode.OK, StatusCode.INVALID_ARGUMENT)
