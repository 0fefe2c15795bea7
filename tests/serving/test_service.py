"""Every answer that ranking.proto promises, over a real channel."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from structlog.contextvars import merge_contextvars

from recsys.errors import InvalidRequest
from recsys.schema import Candidate, HistoryEntry, ItemText, RankedItem
from serving.client import RankingClient
from serving.listen import SERVICE
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc


def refused(call: Any, *arguments: Any) -> tuple[StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=10)
    return caught.value.code(), caught.value.details()


def test_candidates_come_back_best_first_with_scores_probabilities_and_bundle(client: RankingClient) -> None:
    ranking = client.rank("u", ["a", "ccc", "bb"], request_id="r-1")

    assert ranking.request_id == "r-1"
    assert ranking.bundle_id == "20260102T030405Z-0123abcd"
    assert ranking.items == (
        RankedItem(item_id="ccc", score=3.0, click_probability=0.25),
        RankedItem(item_id="bb", score=2.0, click_probability=1 / 3),
        RankedItem(item_id="a", score=1.0, click_probability=0.5),
    )
    assert ranking.stage_seconds.keys() == {"queue", "trees"}


def test_the_model_is_asked_exactly_what_was_sent(client: RankingClient, running: Any) -> None:
    asked: dict[str, Any] = {
        "request_id": "exactly",
        "ts": 1_700_000_000_000_000,
        "history": (HistoryEntry(item_id="h", action="cart", ts=1_600_000_000_000_000),),
        "query": "warm socks",
        "surface": "search",
        "top_k": 1,
    }
    candidates = (Candidate(item_id="a"), Candidate(item_id="b", text=ItemText(title="B", tags=("x", "y"))))
    client.rank("u", candidates, **asked)

    (seen,) = [request for request in running.model.asked if request.request_id == "exactly"]
    assert {name: getattr(seen, name) for name in asked} == asked
    assert (seen.user_id, seen.candidates) == ("u", candidates)


def test_unknown_candidates_are_ranked_and_listed(client: RankingClient) -> None:
    ranking = client.rank("u", ["a", Candidate(item_id="new-1", text=ItemText(title="New"))])

    assert [item.item_id for item in ranking.items] == ["new-1", "a"]
    assert ranking.unknown_items == ("new-1",)


def test_no_candidates_give_an_empty_answer(client: RankingClient) -> None:
    assert client.rank("u", []).items == ()


def test_an_anonymous_visitor_is_answered(client: RankingClient) -> None:
    assert client.rank("", ["a"]).unknown_user


def test_top_k_cuts_and_more_than_there_are_is_all(client: RankingClient) -> None:
    assert [item.item_id for item in client.rank("u", ["a", "bb", "ccc"], top_k=2).items] == ["ccc", "bb"]
    assert len(client.rank("u", ["a", "bb"], top_k=10).items) == 2


def test_a_request_without_an_id_gets_one(client: RankingClient) -> None:
    assert len({client.rank("u", ["a"]).request_id for _ in range(3)} - {""}) == 3


def test_reasons_come_when_asked_for(client: RankingClient, stub: pb_grpc.RankingServiceStub) -> None:
    explained = client.explain("u", ["a", "bb"], reasons=1)

    assert {item: [reason.feature for reason in reasons] for item, reasons in explained.reasons.items()} == {
        "a": ["length"],
        "bb": ["length"],
    }
    assert "explain" in explained.ranking.stage_seconds
    assert not stub.Rank(pb.RankRequest(candidates=[pb.Candidate(item_id="a")])).items[0].reasons


@pytest.mark.parametrize("item_id", ["日本語", "a\u0301", "\u202egnp", "👩‍👩‍👧", "\0", " ", "x" * 128])
def test_ids_come_back_byte_for_byte(client: RankingClient, item_id: str) -> None:
    assert client.rank(item_id, [item_id]).items[0].item_id == item_id


def test_a_thousand_candidates_are_ranked(client: RankingClient) -> None:
    ids = [f"{n:>{n % 100 + 5}}" for n in range(1_000)]

    assert {item.item_id for item in client.rank("u", ids).items} == set(ids)


ITEM = pb.Candidate(item_id="a")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (pb.RankRequest(candidates=[ITEM, ITEM]), "occurs twice"),
        (pb.RankRequest(candidates=[pb.Candidate(item_id=str(n)) for n in range(1_001)]), "more than 1000"),
        (pb.RankRequest(candidates=[pb.Candidate()]), "item_id is empty"),
        (pb.RankRequest(candidates=[pb.Candidate(item_id="x" * 129)]), "longer than 128 bytes"),
        (pb.RankRequest(user_id="x" * 129), "longer than 128 bytes"),
        (pb.RankRequest(request_id="x" * 129), "longer than 128 bytes"),
        (pb.RankRequest(surface="x" * 129), "longer than 128 bytes"),
        (pb.RankRequest(query="ä" * 4_097), "query is longer than 8192 bytes"),
        (pb.RankRequest(candidates=[pb.Candidate(item_id="a", text=pb.ItemText(title="x" * 8_193))]), "title"),
        (pb.RankRequest(candidates=[pb.Candidate(item_id="a", text=pb.ItemText(tags=["x"] * 5_000))]), "tags"),
        (pb.RankRequest(top_k=-1), "top_k is negative"),
        (pb.RankRequest(reasons_per_item=-1), "send 0 to 20"),
        (pb.RankRequest(reasons_per_item=2**31 - 1), "send 0 to 20"),
        (pb.RankRequest(time_us=-(2**63)), "UTC microseconds"),
        (pb.RankRequest(time_us=2**63 - 1), "UTC microseconds"),
        (pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry()])), "item_id is empty"),
        (pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry(item_id="a", action=99)])), "action 99"),
        (pb.RankRequest(history=pb.History(entries=[pb.HistoryEntry(item_id="a")] * 1_001)), "longer than 1000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    stub: pb_grpc.RankingServiceStub, message: pb.RankRequest, text: str
) -> None:
    code, details = refused(stub.Rank, message)

    assert code is StatusCode.INVALID_ARGUMENT
    assert text in details


NESTED = b"\x0b" * 200  # groups, opened and never closed


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("Rank", b"garbage"),
        ("Rank", b"\x12\x02\xc3\x28"),  # a user_id that is not UTF-8
        ("Rank", b"\x12\x7f"),
        ("Rank", NESTED),
        ("GetModelInfo", b"\xff"),
    ],
)
def test_bytes_that_are_no_message_are_the_callers_fault(running: Any, method: str, data: bytes) -> None:
    with grpc.insecure_channel(running.address) as channel:
        code, details = refused(channel.unary_unary(f"/{SERVICE}/{method}"), data)

    assert code is StatusCode.INVALID_ARGUMENT
    assert "not UTF-8" in details


def test_a_message_beyond_the_limit_is_refused(stub: pb_grpc.RankingServiceStub) -> None:
    assert refused(stub.Rank, pb.RankRequest(query="x" * (1 << 20)))[0] is StatusCode.RESOURCE_EXHAUSTED


def test_a_fault_of_the_model_is_told_to_nobody(running: Any, stub: pb_grpc.RankingServiceStub) -> None:
    message = pb.RankRequest(user_id="user-7", request_id="r-7", surface="broken", candidates=[ITEM])
    with running.lines() as lines:
        answer = refused(stub.Rank, message)

    assert answer == (StatusCode.INTERNAL, "internal error")
    (line,) = lines
    assert (line["log_level"], line["code"], line["frames"][-1]) == ("error", "INTERNAL", "KeyError")
    assert "user-7" not in str(line)


def test_without_the_interceptor_such_a_fault_would_leak() -> None:
    """The control of the test above: gRPC itself sends an exception's text."""

    async def leak() -> str:
        async def handler(_data: bytes, _context: Any) -> bytes:
            raise KeyError("the secret of user-7")

        server = aio.server()
        methods = {"Rank": grpc.unary_unary_rpc_method_handler(handler)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plain", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await channel.unary_unary("/plain/Rank")(b"")
        await server.stop(None)
        return str(caught.value.details())

    assert "user-7" in asyncio.run(leak())


def test_one_line_is_logged_per_call_without_ids_or_texts(client: RankingClient, running: Any, eventually: Any) -> None:
    with running.lines(processors=[]) as lines:
        client.rank("user-7", ["item-7"], request_id="r-7", query="query-7")
        with pytest.raises(InvalidRequest):
            client.explain("user-7", ["item-7"], reasons=-1)
        client.model_info()
        eventually(lambda: len(lines) == 3)  # an answer leaves before its line is written

    assert [(line["event"], line["code"], line["log_level"]) for line in lines] == [
        ("call", "OK", "info"),
        ("call", "INVALID_ARGUMENT", "warning"),
        ("call", "OK", "info"),
    ]
    assert not any(secret in str(lines) for secret in ("user-7", "item-7", "query-7"))


def test_a_request_that_a_caller_named_is_logged_by_its_pseudonym(
    client: RankingClient, running: Any, eventually: Any
) -> None:
    with running.lines(processors=[merge_contextvars]) as lines:
        client.rank("u", ["a"], request_id="visit-7")
        with grpc.insecure_channel(running.address) as channel:
            message = pb.RankRequest(user_id="u", candidates=[pb.Candidate(item_id="a")])
            made = pb_grpc.RankingServiceStub(channel).Rank(message).request_id
        eventually(lambda: len(lines) == 2)

    assert [line["request_id"] for line in lines] == [running.servicer.pseudonyms.of("visit-7"), made]
    assert "visit-7" not in str(lines)


def test_the_model_describes_itself(client: RankingClient) -> None:
    info = client.model_info()

    assert info.bundle_id == "20260102T030405Z-0123abcd"
    assert info.created_us == 1_767_323_045_000_000
    assert info.metrics == {"full.auc.value": 0.75, "full.auc.low": 0.7, "lists": 12.0}
    assert info.feature_names == ("text_logit", "item_clicks")
    assert (info.text_model_fingerprint, info.history_length) == ("text-1", 20)
    assert info.providers == ("CPUExecutionProvider",)
    assert info.code_version


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_is_serving_under_both_names(running: Any, name: str) -> None:
    with grpc.insecure_channel(running.address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_tells_tools_the_methods(running: Any) -> None:
    with grpc.insecure_channel(running.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)

        assert SERVICE in database.get_services()
        file = database.FindFileContainingSymbol(SERVICE)
    assert {"Rank", "GetModelInfo", "RecordEvents"} <= {method.name for method in file.service[0].method}
