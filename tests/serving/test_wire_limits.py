"""Messages with too many of something are refused by their bytes, as the parser would count them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidRequest
from serving.listen import SERVICE
from serving.pb import ranking_pb2 as pb
from serving.wire_limits import LIMITS, Limit, check_counts

FEW = Limit(counted=(3, 10), most=2, refusal="candidates", inner={4: Limit(counted=(1,), most=3, refusal="entries")})

REQUESTS: dict[str, type[Any]] = {
    method.name: getattr(pb, method.input_type.name)
    for method in pb.DESCRIPTOR.services_by_name["RankingService"].methods
}


def refused(data: bytes, limit: Limit = FEW) -> bool:
    try:
        check_counts(data, limit)
    except InvalidRequest:
        return True
    return False


def test_the_limits_are_about_the_repeated_fields_of_the_proto() -> None:
    repeated = {
        method: {name: one.number for name, one in request.DESCRIPTOR.fields_by_name.items() if one.is_repeated}
        for method, request in REQUESTS.items()
    }

    assert {method: [*fields.values()] for method, fields in repeated.items() if fields} == {
        method: [*limit.counted] for method, limit in LIMITS.items()
    }
    assert [*LIMITS["Rank"].inner] == [pb.RankRequest.HISTORY_FIELD_NUMBER]
    assert LIMITS["Rank"].inner[4].counted == (pb.History.ENTRIES_FIELD_NUMBER,)


@pytest.mark.parametrize("method", LIMITS)
def test_as_many_as_allowed_pass_and_one_more_is_refused_with_their_number(method: str) -> None:
    limit = LIMITS[method]
    for number in limit.counted:
        one = bytes([number << 3 | 2, 3]) + b"\x0a\x01a"

        check_counts(one * limit.most, limit)
        with pytest.raises(InvalidRequest, match=f"^{limit.most + 1} [a-z_]+ are more than {limit.most}; send"):
            check_counts(one * (limit.most + 1), limit)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 16_383, 16_384, 70_000])
def test_fields_of_any_size_are_stepped_over(size: int) -> None:
    # What is in a text looks like candidates, and is none.
    message = pb.RankRequest(query="\x1a" * size, candidates=[pb.Candidate(item_id="\x1a" * size)] * 2)
    more = pb.RankRequest(query="q" * size, candidates=[pb.Candidate(item_id="\x1a" * size)] * 3)

    assert not refused(message.SerializeToString())
    assert refused(more.SerializeToString())


@pytest.mark.parametrize(("parts", "many"), [([3], False), ([4], True), ([2, 2], True), ([1, 1, 1], False)], ids=str)
def test_what_stands_in_a_message_within_is_counted_over_all_its_parts(parts: list[int], many: bool) -> None:
    entry = pb.HistoryEntry(item_id="a")
    data = b"".join(pb.RankRequest(history=pb.History(entries=[entry] * n)).SerializeToString() for n in parts)

    assert len(pb.RankRequest.FromString(data).history.entries) == sum(parts)
    assert refused(data) == many


VARINTS = st.integers(0, 2**64 - 1) | st.integers(0, 300)


def varint(value: int, *, spare: int = 0) -> bytes:
    """Write a number, if wanted longer than it needs to be."""
    out = bytearray()
    while value > 127 or spare:
        spare -= 0 if value > 127 else 1
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@st.composite
def fields(draw: st.DrawFn, inside: st.SearchStrategy[bytes]) -> bytes:
    kind = draw(st.sampled_from([0, 1, 2, 2, 2, 5]))
    tag = varint(draw(st.integers(1, 20)) << 3 | kind, spare=draw(st.sampled_from([0, 0, 0, 1, 2])))
    if kind == 2:
        value = draw(inside)
        return tag + varint(len(value), spare=draw(st.sampled_from([0, 0, 1]))) + value
    return tag + (varint(draw(VARINTS)) if kind == 0 else b"\0" * {1: 8, 5: 4}[kind])


MESSAGES = st.lists(fields(st.lists(fields(st.just(b"")), max_size=5).map(b"".join)), max_size=8).map(b"".join)


@given(data=MESSAGES)
def test_it_counts_as_the_parser_does(data: bytes) -> None:
    try:
        message = pb.RankRequest.FromString(data)
    except DecodeError:
        return  # refused by the parser, whatever is said here
    many = (
        len(message.candidates) + len(message.candidate_ids) > FEW.most
        or len(message.history.entries) > FEW.inner[4].most
    )

    assert refused(data) == many


@given(data=st.binary(max_size=60))
def test_any_bytes_are_refused_or_left_to_the_parser(data: bytes) -> None:
    if not refused(data):
        try:
            message = pb.RankRequest.FromString(data)
        except DecodeError:
            return
        assert len(message.candidates) + len(message.candidate_ids) <= FEW.most


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1a\x00" * 500_000, "candidates are more than 1000"),
        (b"\x9a\x00\x00" * 300_000, "candidates are more than 1000"),
        (b"\x22\x80\xb5\x18" + b"\x0a\x00" * 200_000, "history is longer than 1000"),
        (b"\x22\x02\x0a\x00" * 200_000, "more than 2000 fields"),
        (b"\x08\x00" * 500_000, "more than 2000 fields"),
        (b"\x08" + b"\x80" * 900_000, "more than 2000 fields"),
    ],
    ids=["empty", "long tags", "history", "histories", "unknown", "endless number"],
)
def test_a_megabyte_of_almost_nothing_is_refused_before_it_is_parsed(running: Any, data: bytes, text: str) -> None:
    with grpc.insecure_channel(running.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/Rank")(data, timeout=10)

    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert text in caught.value.details()


def test_without_the_walk_the_parser_builds_them_all() -> None:
    """The control of the test above."""
    assert len(pb.RankRequest.FromString(b"\x1a\x00" * 500_000).candidates) == 500_000
