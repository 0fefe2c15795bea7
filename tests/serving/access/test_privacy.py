"""What callers send stands in no log line and in no error's text, whatever becomes of the call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from recsys.errors import InvalidRequest
from recsys.events import Click, Impression
from recsys.schema import Candidate, HistoryEntry, Item, ItemText
from serving.client import AsyncRankingClient, Credentials, RankingClient, ServiceError
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.pseudonyms import Pseudonyms

CANARY = "canary"
KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def keyed(serve_guarded: Any, tmp_path: Path) -> Any:
    path = tmp_path / "log.key"
    path.write_bytes(KEY)
    with serve_guarded(tmp_path, log_key=path, receipts=1.0) as keyed:
        yield keyed


@pytest.fixture
def ca(guarded: Any, tmp_path: Path) -> Credentials:
    path = tmp_path / "ca.crt"
    path.write_bytes(guarded.authority.pem)
    return Credentials(ca=path)


def everything(client: RankingClient) -> None:
    text = ItemText(title=f"{CANARY} title", description=f"{CANARY} words", category=f"{CANARY} kind", tags=(CANARY,))
    asked: dict[str, Any] = {
        "request_id": f"{CANARY}-request",
        "query": f"{CANARY} query",
        "surface": f"{CANARY}-place",
        "history": [HistoryEntry(item_id=f"{CANARY}-old")],
    }
    client.rank(f"{CANARY}-user", [f"{CANARY}-1", Candidate(item_id=f"{CANARY}-2", text=text)], **asked)
    client.explain(f"{CANARY}-user", [f"{CANARY}-1"], **asked)
    for wrong in ({"reasons": 21}, {"reasons": 1, "surface": "broken"}):
        with pytest.raises((InvalidRequest, ServiceError)) as caught:
            client.explain(f"{CANARY}-user", [f"{CANARY}-1"], **{**asked, **wrong})
        assert CANARY not in str(caught.value)
    now = 1_800_000_000_000_000
    client.record(
        [
            Impression(event_id=f"{CANARY}-e", request_id=CANARY, user_id=CANARY, ts=now, item_ids=(CANARY,)),
            Click(event_id=f"{CANARY}-c", request_id=CANARY, item_id=CANARY, ts=1_000_000),
        ]
    )
    client.upsert_items([Item(item_id=f"{CANARY}-1", text=text)])
    with pytest.raises(InvalidRequest) as caught:
        client.upsert_items([Item(item_id=f"{CANARY}-1", text=text)] * 2)
    assert CANARY not in str(caught.value)
    client.delete_items([f"{CANARY}-1"])


def test_nothing_that_was_sent_is_logged_and_ids_are_pseudonyms(keyed: Any, tmp_path: Path, eventually: Any) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(keyed.authority.pem)
    token = keyed.issuer.token(["rank", "write"], sub="shop")
    with (
        capture_logs(processors=[merge_contextvars]) as lines,
        RankingClient(keyed.address, credentials=Credentials(ca=path), token=token, deadline_s=20) as client,
    ):
        everything(client)
        with keyed.channel() as channel:  # our client names every request, so that a retry is the same one
            message = pb.RankRequest(user_id="u", candidates=[pb.Candidate(item_id="a")])
            metadata = [("authorization", f"Bearer {token}")]
            made = pb_grpc.RankingServiceStub(channel).Rank(message, metadata=metadata, timeout=20).request_id
        eventually(lambda: [line for line in lines if line.get("request_id") == made])

    calls = [line for line in lines if line["event"] == "call"]
    assert len(calls) == 9
    assert CANARY not in str(lines)
    assert token not in str(lines)
    assert {line["caller"] for line in calls} == {"shop"}
    assert calls[0]["request_id"] == Pseudonyms(KEY).of(f"{CANARY}-request")
    assert calls[-1]["request_id"] == made  # the server's own stands plain


def duplicate() -> pb.RankRequest:
    return pb.RankRequest(candidates=[pb.Candidate(item_id=f"{CANARY}-{n}") for n in (1, 2, 1)])


@pytest.mark.parametrize(
    "message",
    [
        duplicate(),
        pb.RankRequest(user_id=CANARY * 30),
        pb.RankRequest(query=CANARY * 2_000),
        pb.RankRequest(candidates=[pb.Candidate(item_id=CANARY, text=pb.ItemText(title=CANARY * 2_000))]),
        pb.RankRequest(user_id=CANARY, surface="broken", candidates=[pb.Candidate(item_id=CANARY)]),
    ],
)
def test_no_error_says_what_was_sent(guarded: Any, message: pb.RankRequest) -> None:
    metadata = [("authorization", f"Bearer {guarded.issuer.token()}")]
    with guarded.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        pb_grpc.RankingServiceStub(channel).Rank(message, metadata=metadata, timeout=20)

    assert CANARY not in caught.value.details()


def test_a_token_says_nothing_of_itself_when_it_is_refused(guarded: Any) -> None:
    for claims in ({"sub": CANARY * 30}, {"iss": CANARY}, {"aud": CANARY}, {"priority": CANARY}, {"roles": [CANARY]}):
        _, text = guarded.code_of("/recsys.v1.RankingService/Rank", guarded.issuer.token(**{"roles": [], **claims}))

        assert text
        assert not any(secret in text for secret in (CANARY, "issuer.test", "recsys"))


# The client's own side of it.


def test_a_client_calls_with_a_token_and_one_without_is_told(guarded: Any, ca: Credentials) -> None:
    with RankingClient(guarded.address, credentials=ca, token=guarded.issuer.token()) as client:
        assert client.rank("u", ["a"]).items
        with pytest.raises(ServiceError, match="needs the role write") as caught:
            client.delete_items(["a"])
        assert caught.value.code == "PERMISSION_DENIED"
    with RankingClient(guarded.address, credentials=ca) as client, pytest.raises(ServiceError) as caught:
        client.rank("u", ["a"])
    assert caught.value.code == "UNAUTHENTICATED"


def test_a_token_may_be_asked_for_with_each_call(guarded: Any, ca: Credentials) -> None:
    tokens = iter([guarded.issuer.token(), "garbage", guarded.issuer.token()])
    with RankingClient(guarded.address, credentials=ca, token=lambda: next(tokens)) as client:
        assert client.rank("u", ["a"]).items
        with pytest.raises(ServiceError, match="not accepted"):
            client.rank("u", ["a"])
        assert client.rank("u", ["a"]).items


def test_the_asyncio_client_takes_the_same(mutual: Any, ca: Credentials, tmp_path: Path) -> None:
    certificate, key = mutual.authority.signs("loader").write(tmp_path, "loader")

    async def calls() -> int:
        own = Credentials(ca=ca.ca, certificate=certificate, key=key)
        async with AsyncRankingClient(mutual.address, credentials=own) as client:
            deleted = await client.delete_items(["a"])
            with pytest.raises(ServiceError, match="needs the role rank"):
                await client.rank("u", ["a"])
        async with AsyncRankingClient(mutual.address, credentials=own, token=mutual.issuer.token()) as client:
            assert (await client.rank("u", ["a"])).items
        return deleted

    assert asyncio.run(calls()) == 0
