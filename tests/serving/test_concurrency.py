"""Requests do not wait for, end, or answer each other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from serving.client import RankingClient
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc


def test_parallel_requests_get_their_own_answers(client: RankingClient) -> None:
    def own(n: int) -> bool:
        ids = [f"{n}-{i}" for i in range(n % 7 + 1)]
        ranking = client.rank(f"u{n}", ids, request_id=f"r{n}")
        return ranking.request_id == f"r{n}" and {item.item_id for item in ranking.items} == set(ids)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(own, range(400)))


def test_a_slow_ranking_does_not_hold_up_another(running: Any, stub: pb_grpc.RankingServiceStub) -> None:
    slow = stub.Rank.future(pb.RankRequest(surface="held"))
    stub.Rank(pb.RankRequest(), timeout=10)

    assert not slow.done()
    running.model.release.set()
    slow.result(10)
    running.model.release.clear()


def test_a_deadline_ends_the_call_and_the_server_goes_on(running: Any, client: RankingClient) -> None:
    with grpc.insecure_channel(running.address) as channel, running.lines() as lines:
        message = pb.RankRequest(surface="slow", query="0.5")
        grpc.channel_ready_future(channel).result(10)  # or the time may be over before the server hears of the call
        with pytest.raises(grpc.RpcError) as caught:
            pb_grpc.RankingServiceStub(channel).Rank(message, timeout=0.1)
        assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
        wait_for(lambda: calls(lines))

    assert calls(lines) in (["DEADLINE_EXCEEDED"], ["CANCELLED"])  # whichever clock is ahead
    assert client.rank("u", ["a"]).items


def test_a_cancelled_request_that_waits_for_a_thread_is_never_computed(
    running: Any, stub: pb_grpc.RankingServiceStub
) -> None:
    wait_for(lambda: not running.servicer.busy)  # with what an earlier caller has left
    before = len(running.model.asked)
    busy = [stub.Rank.future(pb.RankRequest(surface="held")) for _ in range(4)]  # as many as the server has threads
    wait_for(lambda: len(running.model.asked) == before + 4)
    with running.lines() as lines:
        waiting = stub.Rank.future(pb.RankRequest(request_id="cancelled"))
        wait_for(lambda: running.servicer.waiting == 1)
        waiting.cancel()
        wait_for(lambda: calls(lines))
    running.model.release.set()
    for call in busy:
        call.result(10)
    running.model.release.clear()
    stub.Rank(pb.RankRequest(request_id="afterwards"))

    assert calls(lines) == ["CANCELLED"]
    assert running.model.asked[-1].request_id == "afterwards"
    assert "cancelled" not in [request.request_id for request in running.model.asked]


def calls(lines: Any) -> list[str]:
    return [line["code"] for line in lines if line["event"] == "call"]


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
