"""The client speaks the domain's language, also when something fails."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from recsys.errors import InvalidRequest, NotReady, RecsysError
from recsys.schema import Candidate, Ranking, RankRequest
from serving.client import AsyncRankingClient, RankingClient, ServiceError, ask
from serving.pb import ranking_pb2_grpc as pb_grpc

NOWHERE = "127.0.0.1:1"


def test_a_bad_request_is_refused_before_it_is_sent() -> None:
    with RankingClient(NOWHERE) as client, pytest.raises(InvalidRequest, match="occurs twice"):
        client.rank("u", ["a", "a"])


def test_what_only_the_server_refuses_comes_back_as_the_same_error(client: RankingClient) -> None:
    with pytest.raises(InvalidRequest, match="send 0 to 20"):
        client.explain("u", ["a"], reasons=21)


def test_a_server_that_is_not_there_is_not_ready() -> None:
    with RankingClient(NOWHERE) as client:
        with pytest.raises(NotReady, match=f"{NOWHERE} does not serve.*recsys serve"):
            client.rank("u", ["a"])
        with pytest.raises(NotReady):
            client.wait_until_ready(0.2)


def test_a_late_answer_is_an_error_that_names_the_deadline(running: Any) -> None:
    late = pytest.raises(ServiceError, match=r"no answer within 0\.1 s")
    with RankingClient(running.address, deadline_s=0.1) as client, late as caught:
        client.rank("u", ["a"], surface="slow", query="0.5")
    assert caught.value.code == "DEADLINE_EXCEEDED"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_does_not_answer_yet_is_waited_for(silent: str) -> None:
    began = time.monotonic()
    with RankingClient(silent, deadline_s=0.1) as client, pytest.raises(NotReady, match="no answer within"):
        client.wait_until_ready(0.5)

    assert time.monotonic() - began > 0.5


@pytest.mark.parametrize("hedge_after_s", [None, 0.05])
def test_who_waits_while_its_client_is_closed_is_told_and_not_cancelled(
    silent: str, hedge_after_s: float | None
) -> None:
    async def closed_meanwhile() -> tuple[asyncio.Task[Ranking], BaseException]:
        lanes = [silent, silent] if hedge_after_s else [silent]
        client = AsyncRankingClient(lanes, deadline_s=20, hedge_after_s=hedge_after_s)
        call = asyncio.create_task(client.rank("u", ["a"]))
        await asyncio.sleep(0.3)
        await client.close()
        (found,) = await asyncio.gather(call, return_exceptions=True)
        return call, found

    call, found = asyncio.run(closed_meanwhile())

    assert not call.cancelled()
    assert isinstance(found, NotReady)


def test_who_is_cancelled_is_cancelled(silent: str) -> None:
    async def cancelled() -> asyncio.Task[Ranking]:
        async with AsyncRankingClient(silent, deadline_s=20) as client:
            call = asyncio.create_task(client.rank("u", ["a"]))
            await asyncio.sleep(0.3)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        return call

    assert asyncio.run(cancelled()).cancelled()


def test_a_closed_client_says_so(running: Any) -> None:
    client = RankingClient(running.address)
    client.close()
    with pytest.raises(NotReady, match="this client was closed"):
        client.rank("u", ["a"])

    async def closed() -> None:
        client = AsyncRankingClient(running.address)
        await client.close()
        with pytest.raises(NotReady, match="this client was closed"):
            await client.rank("u", ["a"])

    asyncio.run(closed())


def test_a_fault_of_the_server_is_an_error_with_its_code(client: RankingClient) -> None:
    with pytest.raises(ServiceError, match="internal error; see the server's log") as caught:
        client.rank("u", ["a"], surface="broken")
    assert caught.value.code == "INTERNAL"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.UNAVAILABLE, NotReady),
        (StatusCode.CANCELLED, NotReady),
        (StatusCode.INVALID_ARGUMENT, InvalidRequest),
        (StatusCode.RESOURCE_EXHAUSTED, ServiceError),
        (StatusCode.UNIMPLEMENTED, ServiceError),
    ],
)
def test_every_status_is_one_of_our_errors(code: StatusCode, kind: type[RecsysError]) -> None:
    class Refusing(pb_grpc.RankingServiceServicer):
        def Rank(self, _request: Any, context: Any) -> None:  # noqa: N802 - gRPC's name
            context.abort(code, "because")

    server = grpc.server(ThreadPoolExecutor(1))
    pb_grpc.add_RankingServiceServicer_to_server(Refusing(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with RankingClient(address) as client, pytest.raises(kind, match="because") as caught:
        client.rank("u", ["a"])
    assert "see the server's log" not in str(caught.value)  # it says no more
    server.stop(None).wait()


def test_a_prepared_request_is_sent_as_it_is(client: RankingClient, running: Any) -> None:
    request = RankRequest(
        user_id="u", candidates=(Candidate(item_id="a"),), ts=1_700_000_000_000_000, request_id="prepared"
    )
    client.rank_request(request)

    assert [seen for seen in running.model.asked if seen.request_id == "prepared"] == [request]


def test_an_empty_history_is_not_left_out() -> None:
    assert ask("u", ["a"]).history is None
    assert ask("u", ["a"], history=[]).history == ()


def test_the_asyncio_client_answers_as_the_other_one_does(client: RankingClient, running: Any) -> None:
    async def everything() -> tuple[Any, ...]:
        async with AsyncRankingClient(running.address) as other:
            rankings = await asyncio.gather(*(other.rank("u", [str(n), "bb"], request_id="r") for n in range(20)))
            with pytest.raises(InvalidRequest):
                await other.explain("u", ["a"], reasons=-1)
            with pytest.raises(ServiceError, match="internal error"):
                await other.rank("u", ["a"], surface="broken")
            return rankings, await other.explain("u", ["a"], request_id="r"), await other.model_info()

    rankings, explanation, info = asyncio.run(everything())
    assert [{item.item_id for item in ranking.items} for ranking in rankings] == [{str(n), "bb"} for n in range(20)]
    assert explanation.reasons.keys() == client.explain("u", ["a"], request_id="r").reasons.keys()
    assert info == client.model_info()


def test_the_client_needs_none_of_the_model_libraries() -> None:
    heavy = ("lightgbm", "onnxruntime", "polars", "tokenizers", "torch", "structlog")
    check = f"import sys, serving.client; print(*sorted(set(sys.modules) & {set(heavy)}))"

    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "\n"
