"""What any of the workers is told, all of them know, and an answer means the same as that of one server."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from recsys.errors import InvalidRequest
from recsys.events import Click, Impression
from recsys.schema import Item, ItemText
from serving.client import ServiceError
from serving.event_file import open_for_reading

BOTH = {1, 2}


@pytest.fixture(scope="module")
def shop(
    workers_of: Any, tiny_registry: Path, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, str, Path]]:
    """Two workers of a real bundle that share a store, their address and their data directory."""
    data = tmp_path_factory.mktemp("workers") / "live"
    command = [sys.executable, "-m", "recsys.cli", "serve", str(tiny_registry), "--data", str(data), "--port", "0"]
    command += ["--workers", "2", "--store", redis_server.url.replace("db=0", "db=3"), "--receipts", "0"]
    # On a machine with much else to do the store may take its time; nothing is about its limit here.
    with workers_of(command, RECSYS_STORE_LIMIT_S="10") as workers:
        yield workers, workers.serve(), data


def told(path: Path) -> tuple[int, int]:
    """Count the events of a log, and the clicks among them that found their list."""
    with closing(open_for_reading(path)) as log:
        row: tuple[int, int] = log.execute("SELECT count(*), count(place) FROM events").fetchone()
    return row


def until(true: Any) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_click_that_one_worker_is_told_finds_the_list_that_another_one_was_told(shop: Any, clients: Any) -> None:
    workers, address, data = shop
    now_us = time.time_ns() // 1_000
    with clients(address) as all_clients:
        strangers = [client.rank("visitor", ["item-01"]).unknown_user for client in all_clients]
        for place, client in enumerate(all_clients):
            name = f"list-{place}"
            shown = Impression(event_id=name, request_id=name, user_id="visitor", ts=now_us, item_ids=("item-01",))
            clicked = Click(event_id=f"click-{place}", request_id=name, item_id="item-01", ts=now_us)
            assert client.record([shown]).accepted == 1
            other = all_clients[place - 1]
            assert (other.record([clicked]) if place % 2 else other.stream([clicked])).accepted == 1
            assert other.record([shown, clicked]).duplicates == 2
        rankings = [client.rank("visitor", ["item-01"]) for client in all_clients]

    count = len(all_clients)
    until(lambda: workers.answered() == BOTH)  # as soon as the lines are there
    assert strangers == [True] * count
    assert [ranking.unknown_user for ranking in rankings] == [False] * count
    assert [sum(ranking.state_versions.values()) for ranking in rankings] == [2 * count] * count
    assert told(data / "events.db") == (2 * count, count)
    assert told(data / "worker-2" / "events.db") == (0, 0)


def test_items_that_one_worker_is_told_are_known_to_all_and_gone_from_all(shop: Any, clients: Any) -> None:
    _, address, _ = shop
    names = [f"new-{number}" for number in range(4)]
    with clients(address) as all_clients:

        def known() -> set[int]:
            return {4 - len(client.rank("u", names).unknown_items) for client in all_clients}

        before = known()
        for name, client in zip(names, all_clients, strict=False):
            item = Item(item_id=name, text=ItemText(title=name, category="Kitchen"))
            assert client.upsert_items([item]).changed == 1
        until(lambda: known() == {4})
        assert [client.delete_items([name]) for name, client in zip(names, all_clients[4:], strict=False)] == [1] * 4
        until(lambda: known() == {0})

    assert before == {0}


def test_a_worker_that_comes_later_knows_the_items_before_it_serves(shop: Any, clients: Any) -> None:
    workers, address, _ = shop
    (second,) = [line for line in workers.wait_for("worker serves", 2) if line["worker"] == 2][:1]
    died = len([line for line in workers.lines if line["event"] == "worker died"])
    os.kill(second["pid"], signal.SIGKILL)
    workers.wait_for("worker died", died + 1)
    with clients(address, 1) as (client,):
        client.upsert_items([Item(item_id="late", text=ItemText(title="Late", category="Kitchen"))])
    workers.wait_for("worker serves", 3)
    with clients(address) as all_clients:
        unknown = [client.rank("u", ["late"]).unknown_items for client in all_clients]

    assert unknown == [()] * len(all_clients)


def test_a_fault_of_the_caller_is_told_alike_by_all(shop: Any, clients: Any) -> None:
    _, address, _ = shop
    wrong = Item(item_id="x", text=ItemText(title="x"), attributes={"prize": 1.0})
    with clients(address) as all_clients:
        for client in all_clients:
            with pytest.raises(InvalidRequest, match="is no attribute of this model's items; send brand, price, or"):
                client.upsert_items([wrong])


@pytest.mark.parametrize("method", ["RecordEvents", "StreamEvents"])
def test_bytes_that_are_no_message_are_refused_alike_by_all(shop: Any, method: str) -> None:
    _, address, _ = shop
    name, codes = f"/recsys.v1.RankingService/{method}", []
    for _ in range(18):
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            streams = method == "StreamEvents"
            call: Any = channel.stream_unary(name) if streams else channel.unary_unary(name)
            with pytest.raises(grpc.RpcError) as caught:
                call(iter([b"\xff"]) if streams else b"\xff", timeout=20)
            codes.append(caught.value.code())

    assert codes == [grpc.StatusCode.INVALID_ARGUMENT] * 18


def test_without_a_data_directory_nothing_that_would_differ_is_taken(pair: Any, clients: Any) -> None:
    _, address = pair
    said = []
    with clients(address) as all_clients:
        for client in all_clients:
            with pytest.raises(ServiceError, match="this server keeps no events") as caught:
                client.record([Click(event_id="c", request_id="r", item_id="i", ts=time.time_ns() // 1_000)])
            said.append(caught.value.code)
            with pytest.raises(ServiceError, match="several workers keep items in step by a data directory"):
                client.upsert_items([Item(item_id="x", text=ItemText(title="x"))])

    assert said == ["FAILED_PRECONDITION"] * len(all_clients)
