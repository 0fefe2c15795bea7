"""What a server is told reaches every loaded bundle once, whenever it joined; the audit of receipts is the witness."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recsys.events import Interaction, Logged
from recsys.pipeline import RankingPipeline
from recsys.registry import Registry, resolve
from recsys.schema import Item, ItemText
from serving.live_state import LiveState
from serving.receipt_audit import Audit, audit

TRAFFIC = Path(__file__).parents[1] / "receipts" / "conftest.py"


@pytest.fixture(scope="session")
def traffic() -> Any:
    """What makes traffic for the tests of receipts."""
    spec = importlib.util.spec_from_file_location("traffic", TRAFFIC)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Traffic


def event(name: str) -> Interaction:
    return Interaction(event_id=name, user_id="ann", item_id="item-01", type="cart", ts=time.time_ns() // 1_000)


def audited(shop: Any, tmp_path: Path) -> Audit:
    registry = Registry(shop.registry)
    return audit(tmp_path / "live", registry.path)


def swap_among_traffic(served: Any, shop: Any, traffic: Any, rounds: Sequence[str]) -> None:
    """Swap to one bundle after the other while two callers rank, tell, and change items."""
    items = sorted(set(served.server._bundles.model.catalog.ids))
    callers = [traffic(served.client, items, seed=seed) for seed in (1, 2)]
    ended = threading.Event()

    def run(caller: Any) -> None:
        while not ended.is_set():
            caller.run(3, items=caller is callers[0])

    threads = [threading.Thread(target=run, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    for bundle_id in rounds:
        time.sleep(0.3)
        shop.promote(bundle_id)
        served.admin.swap()
    end = time.monotonic() + 60
    while sum(each._number for each in callers) < 40 and all(thread.is_alive() for thread in threads):
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.3)
    ended.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kept_s", [0.0, 600.0], ids=["loaded anew each time", "kept and told all along"])
def test_nothing_that_was_told_is_missing_or_twice_after_swaps_under_traffic(
    shop: Any, serve: Any, traffic: Any, tmp_path: Path, quickly: Callable[..., Any], kept_s: float
) -> None:
    with serve(quickly, previous_kept_s=kept_s, probation_s=0, drift=0) as served:
        swap_among_traffic(served, shop, traffic, [shop.second, shop.first, shop.second])
    found = audited(shop, tmp_path)

    assert (found.mismatches, found.early) == ((), ())
    assert found.receipts > 30
    assert set(found.left_out) <= {"items changed while they were ranked"}


def test_the_same_holds_where_what_people_did_is_shared_by_a_store(
    shop: Any, serve: Any, traffic: Any, tmp_path: Path, quickly: Callable[..., Any], redis_server: Any
) -> None:
    store = {"store": redis_server.url, "store_limit_s": 5.0}
    with serve(quickly, probation_s=0, drift=0, **store) as served:
        served.client.record([event("first")])  # before it, a store names no log
        swap_among_traffic(served, shop, traffic, [shop.second, shop.first, shop.second])
    found = audited(shop, tmp_path)

    assert (found.mismatches, found.early) == ((), ())
    assert found.receipts > 30
    assert set(found.left_out) <= {"items changed while they were ranked"}


def test_a_bundle_that_does_not_catch_up_would_be_found(
    shop: Any, serve: Any, traffic: Any, tmp_path: Path, quickly: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: what is told between restoring and joining is lost."""
    monkeypatch.setattr(LiveState, "_catch_up", lambda *_: None)
    waits = "serving.preparation.Preparation._wait_for_texts"
    monkeypatch.setattr(waits, lambda self, _: time.sleep(0.5 if self.live.leads else 0))
    with serve(quickly, probation_s=0, drift=0) as served:
        swap_among_traffic(served, shop, traffic, [shop.second])
        traffic(served.client, sorted(set(served.server._bundles.model.catalog.ids)), seed=3).run(20)

    assert not audited(shop, tmp_path).passed


def test_items_and_their_vectors_are_there_before_the_swap(shop: Any, serve: Any, quickly: Callable[..., Any]) -> None:
    coat = Item(item_id="coat-1", text=ItemText(title="A warm coat", tags=("winter",)))
    with serve(quickly, previous_kept_s=0, probation_s=0) as served:
        gone = served.server._bundles.model.catalog.ids[0]
        served.client.upsert_items([coat])
        served.client.delete_items([gone])
        shop.promote(shop.second)
        served.admin.swap()
        ranking = served.client.rank("nobody", ["coat-1", gone])

    assert ranking.bundle_id == shop.second
    assert ranking.unknown_items == (gone,)
    assert ranking.items_without_text == ()


def test_without_a_data_directory_items_are_handed_on_in_memory(
    shop: Any, quickly: Callable[..., Any], tmp_path: Path, serve: Any
) -> None:
    coat = Item(item_id="coat-1", text=ItemText(title="A warm coat"))
    with serve(quickly, data=None) as served:
        served.client.upsert_items([coat])
        shop.promote(shop.second)
        served.admin.swap()
        ranking = served.client.rank("nobody", ["coat-1"])

    assert (ranking.bundle_id, ranking.unknown_items) == (shop.second, ())
    assert not (tmp_path / "live").exists()


def test_a_bundle_that_cannot_learn_falls_out_and_the_one_that_serves_learns_once(
    shop: Any, serve: Any, eventually: Any
) -> None:
    told: dict[str, list[str]] = {shop.first: [], shop.second: []}

    class Watched(RankingPipeline):
        def learn(self, events: Sequence[Logged]) -> None:
            if self.bundle_id == shop.first and told[shop.first]:
                raise ValueError("a fault of this bundle alone")
            told[self.bundle_id] += [each.event.event_id for each in events]
            super().learn(events)

    with serve(lambda path: Watched.load(resolve(path)), probation_s=0) as served:
        served.client.record([event("one")])
        shop.promote(shop.second)
        served.admin.swap()
        served.client.record([event("two")])
        eventually(lambda: len(served.admin.status().swaps.loaded) == 1)
        served.client.record([event("three")])
        refusal = served.admin.status().swaps.last_refusal

    assert told == {shop.first: ["one"], shop.second: ["one", "two", "three"]}
    assert (refusal.bundle_id, "could not learn" in refusal.reason) == (shop.first, True)


def test_a_bundle_that_falls_out_as_it_comes_to_serve_gives_way_to_the_one_before(
    shop: Any, serve: Any, eventually: Any
) -> None:
    told: dict[str, list[str]] = {shop.first: [], shop.second: []}
    learning, learned = threading.Event(), threading.Event()

    class Watched(RankingPipeline):
        def learn(self, events: Sequence[Logged]) -> None:
            names = [each.event.event_id for each in events]
            if names == ["two"] and self.bundle_id == shop.first:
                learning.set()
                assert learned.wait(20)
            if names == ["two"] and self.bundle_id == shop.second:
                raise ValueError("a fault of this bundle alone")
            told[self.bundle_id] += names
            super().learn(events)

    # It takes a bundle when it is told to, and never again of its own accord.
    alone = {"probation_s": 0, "swap_poll_s": 3_600}
    with serve(lambda path: Watched.load(resolve(path)), **alone) as served, ThreadPoolExecutor(2) as others:
        served.client.record([event("one")])
        swap = served.server._operations.hot_swap
        tried_out = swap._try_out

        async def try_out(*given: Any, **how: Any) -> None:
            await tried_out(*given, **how)
            others.submit(served.client.record, [event("two")])
            await asyncio.to_thread(learning.wait, 20)

        swap._try_out = try_out
        shop.promote(shop.second)
        asked = others.submit(served.admin.swap)
        eventually(lambda: served.serving == shop.second)
        learned.set()
        eventually(lambda: served.serving == shop.first)
        asked.result()
        eventually(lambda: [each.bundle_id for each in served.admin.status().swaps.loaded] == [shop.first])
        served.client.record([event("three")])
        refusal = served.admin.status().swaps.last_refusal

    assert told == {shop.first: ["one", "two", "three"], shop.second: ["one"]}
    assert (refusal.bundle_id, "could not learn" in refusal.reason) == (shop.second, True)


def test_no_ranking_waits_for_items_that_wait_for_what_is_being_learned(
    serve: Any, quickly: Callable[..., Any]
) -> None:
    coat = Item(item_id="new-coat", text=ItemText(title="A warm coat"))
    with serve(quickly, threads=1) as served, ThreadPoolExecutor(1) as others:
        with served.server._preparation.live._telling:  # as while a store hangs
            change = others.submit(served.client.upsert_items, [coat])
            time.sleep(0.2)
            rankings = [served.client.rank("nobody", ["item-01", "item-02"]) for _ in range(3)]
            assert not change.done()
        changed = change.result().changed

    assert len(rankings) == 3
    assert changed == 1
