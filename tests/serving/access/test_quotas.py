"""What a caller may have follows from who it is, as its token says, and from nothing that it says itself."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import grpc

from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc

QUOTAS = '[[quota]]\nname = "greedy"\nin_flight = 1\n'


def rank(stub: Any, token: str, surface: str = "", query: str = "", candidates: int = 1) -> str:
    asked = pb.RankRequest(
        user_id="ann",
        surface=surface,
        query=query,
        candidates=[pb.Candidate(item_id=f"item-{place}") for place in range(candidates)],
    )
    try:
        stub.Rank(asked, metadata=(("authorization", f"Bearer {token}"),), timeout=9)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def shared(guarded: Any) -> Counter[str]:
    """Let "greedy" have 20 rankings in flight where it may have one; how the 100 of "shop" end meanwhile."""
    greedy, shop = guarded.issuer.token(sub="greedy"), guarded.issuer.token(sub="shop")
    enough = threading.Event()
    with guarded.channel() as channel, ThreadPoolExecutor(20) as others:
        stub = pb_grpc.RankingServiceStub(channel)

        def ask() -> None:
            while not enough.is_set():
                rank(stub, greedy, "slow", "0.02")

        asking = [others.submit(ask) for _ in range(20)]
        ends = Counter(rank(stub, shop) for _ in range(100))
        enough.set()
        for each in asking:
            each.result()
    return ends


def test_a_caller_at_twenty_times_its_share_takes_nothing_from_another(serve_guarded: Any, tmp_path: Path) -> None:
    (tmp_path / "quotas.toml").write_text(QUOTAS)
    with serve_guarded(tmp_path, quotas=tmp_path / "quotas.toml", most_waiting=2) as guarded:
        assert shared(guarded)["OK"] >= 99


def test_the_control_without_quotas_it_takes_all(serve_guarded: Any, tmp_path: Path) -> None:
    with serve_guarded(tmp_path, most_waiting=2) as guarded:
        assert shared(guarded)["OK"] < 90


def test_candidates_count_and_each_caller_for_itself(serve_guarded: Any, tmp_path: Path) -> None:
    (tmp_path / "quotas.toml").write_text('[[quota]]\nname = "*"\ncandidates_per_s = 10\n')
    with serve_guarded(tmp_path, quotas=tmp_path / "quotas.toml") as guarded, guarded.channel() as channel:
        stub = pb_grpc.RankingServiceStub(channel)
        feed, mail = guarded.issuer.token(sub="feed"), guarded.issuer.token(sub="mail")
        ends = [rank(stub, feed, candidates=1_000), rank(stub, feed), rank(stub, mail)]

    assert ends == ["OK", "RESOURCE_EXHAUSTED", "OK"]


def test_a_queue_that_is_full_for_batches_has_room_for_people(serve_guarded: Any, tmp_path: Path) -> None:
    with serve_guarded(tmp_path, most_waiting=4) as guarded, guarded.channel() as channel:
        stub = pb_grpc.RankingServiceStub(channel)
        batch, person = guarded.issuer.token(sub="job", priority="batch"), guarded.issuer.token()
        with ThreadPoolExecutor(6) as others:
            held: list[Any] = []
            while len(held) < 3:  # two are computed, and one fills the quarter of the queue
                held = [each for each in [*held, others.submit(rank, stub, batch, "held")] if not refused(each)]
            another = rank(stub, batch)
            waits = others.submit(rank, stub, person)
            assert not refused(waits)
            guarded.running.model.release.set()

            assert (another, waits.result(9)) == ("RESOURCE_EXHAUSTED", "OK")
            assert [each.result(9) for each in held] == ["OK"] * 3


def refused(ranking: Any) -> bool:
    """Say whether a ranking ends at once; it is held if it was let in."""
    return bool(wait([ranking], timeout=0.2).done)
