"""Bundles that are promoted while a server serves are taken between two requests, or refused, and nobody notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from recsys.errors import SwapRefused
from recsys.registry import Registry
from recsys.schema import Ranking


def scores(ranking: Ranking) -> dict[str, float]:
    return {item.item_id: item.score for item in ranking.items}


def test_a_promoted_bundle_serves_without_a_restart(shop: Any, serve: Any, asked: Any, eventually: Any) -> None:
    with serve() as served:
        before = served.client.rank_request(asked(1))
        shop.promote(shop.second)
        eventually(lambda: served.serving == shop.second)
        after = served.client.rank_request(asked(1))
        report = served.admin.status()

    assert (before.bundle_id, after.bundle_id) == (shop.first, shop.second)
    assert scores(after) == pytest.approx({name: 2 * score for name, score in scores(before).items()}, abs=1e-7)
    assert report.bundle_id == report.current_bundle_id == shop.second
    assert [(each.bundle_id, each.roles) for each in report.swaps.loaded] == [
        (shop.second, ("serving",)),
        (shop.first, ("previous",)),
    ]
    assert (report.swaps.last_swap.from_bundle_id, report.swaps.last_swap.reason) == (shop.first, "promoted")
    assert report.swaps.last_refusal is None


def test_swaps_under_load_fail_no_request_and_mix_no_answer(
    shop: Any, serve: Any, asked: Any, quickly: Callable[..., Any]
) -> None:
    """``benchmarks/hot_swap.py`` does two hundred."""
    answers: list[tuple[int, Ranking]] = []
    faults: list[Exception] = []
    ended = threading.Event()

    def ask(client: Any, first: int) -> None:
        number = first
        while not ended.is_set():
            try:
                answers.append((number, client.rank_request(asked(number))))
            except Exception as error:  # noqa: BLE001 - there must be none of any kind
                faults.append(error)
            number += 3

    with serve(quickly, previous_kept_s=0, probation_s=0) as served:
        threads = [threading.Thread(target=ask, args=(served.client, first)) for first in range(3)]
        for thread in threads:
            thread.start()
        for bundle_id in (shop.second, shop.first, shop.second):
            shop.promote(bundle_id)
            assert served.admin.swap()[0] == bundle_id
            time.sleep(0.2)
        ended.set()
        for thread in threads:
            thread.join()

    assert faults == []
    assert {ranking.bundle_id for _, ranking in answers} == {shop.first, shop.second}
    alone = {bundle_id: shop.pipeline(bundle_id) for bundle_id in (shop.first, shop.second)}
    known: dict[tuple[str, int], dict[str, float]] = {}
    for number, ranking in answers:
        key = (ranking.bundle_id, number)
        if key not in known:
            known[key] = scores(alone[ranking.bundle_id].rank(asked(number)))
        assert scores(ranking) == known[key]


def test_a_bundle_that_answers_its_golden_requests_otherwise_is_refused_and_tried_once(
    shop: Any, serve: Any, bad_bundle: str, asked: Any, eventually: Any
) -> None:
    with serve() as served:
        shop.promote(bad_bundle)
        eventually(lambda: served.admin.status().swaps.last_refusal)
        first = served.admin.status().swaps.last_refusal
        time.sleep(0.3)  # six looks at the registry
        report = served.admin.status()
        assert served.figure("recsys_swaps_total", outcome="refused") == 1
        with pytest.raises(SwapRefused, match="golden requests"):
            served.admin.swap()  # asked for, it is tried again
        assert served.figure("recsys_swaps_total", outcome="refused") == 2
        assert served.client.rank_request(asked(1)).bundle_id == shop.first
        shop.promote(shop.second)
        eventually(lambda: served.serving == shop.second)

    assert report.swaps.last_refusal == first
    assert (first.bundle_id, first.from_bundle_id) == (bad_bundle, shop.first)
    assert "golden requests" in first.reason
    assert (report.bundle_id, report.current_bundle_id) == (shop.first, bad_bundle)
    assert [each.bundle_id for each in report.swaps.loaded] == [shop.first]


def test_without_the_trial_it_would_be_asked_in_this_process_and_refused_all_the_same(
    shop: Any, serve: Any, bad_bundle: str, quickly: Callable[..., Any]
) -> None:
    with serve(quickly) as served:
        shop.promote(bad_bundle)
        with pytest.raises(SwapRefused, match="answered otherwise in this process"):
            served.admin.swap()
        assert served.serving == shop.first


def test_without_any_check_it_would_serve(
    shop: Any, serve: Any, bad_bundle: str, quickly: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the two tests above."""
    monkeypatch.setattr("serving.preparation.warm_up", lambda _: None)
    with serve(quickly) as served:
        shop.promote(bad_bundle)
        assert served.admin.swap() == (bad_bundle, shop.first)


def test_a_bundle_that_was_damaged_after_its_promotion_harms_nothing(
    shop: Any, serve: Any, asked: Any, quickly: Callable[..., Any]
) -> None:
    file = Registry(shop.registry).path(shop.second) / "ranker.txt"
    with serve(quickly, swap_poll_s=3_600) as served:
        shop.promote(shop.second)  # it is whole, or promote would refuse it
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        with pytest.raises(SwapRefused, match=r"ranker\.txt"):
            served.admin.swap()
        assert served.client.rank_request(asked(1)).bundle_id == shop.first


def test_the_way_back_is_there_at_once_by_the_registry_and_by_command(
    shop: Any, serve: Any, eventually: Any, quickly: Callable[..., Any]
) -> None:
    loads: list[str] = []

    def counted(path: Any) -> Any:
        model = quickly(path)
        loads.append(model.bundle_id)
        return model

    with serve(counted) as served:
        assert served.admin.status().swaps.before == ""
        with pytest.raises(SwapRefused, match="no other bundle served before"):
            served.admin.rollback()
        shop.promote(shop.second)
        eventually(lambda: served.serving == shop.second)
        Registry(shop.registry).rollback()
        eventually(lambda: served.serving == shop.first)
        shop.promote(shop.second)
        eventually(lambda: served.serving == shop.second)
        assert served.admin.status().swaps.before == shop.first
        assert served.admin.rollback() == shop.first
        time.sleep(0.3)  # the registry still says the second; it is not taken again
        report = served.admin.status()
        assert served.admin.swap() == (shop.second, shop.first)  # but it is, when it is asked for

    assert (report.bundle_id, report.current_bundle_id) == (shop.first, shop.second)
    assert loads == [shop.first, shop.second]


def test_a_rollback_loads_the_bundle_again_where_it_is_not_kept(
    shop: Any, serve: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly, previous_kept_s=0, probation_s=0) as served:
        shop.promote(shop.second)
        served.admin.swap()
        assert [each.bundle_id for each in served.admin.status().swaps.loaded] == [shop.second]
        assert served.admin.rollback() == shop.first


def test_a_request_keeps_the_bundle_that_it_began_with_and_that_one_closes_after_it(
    shop: Any, serve: Any, asked: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly, previous_kept_s=0, probation_s=0) as served:
        bundles = served.server._bundles
        first = bundles.serving
        lease = bundles.choose(asked(1))
        closed = threading.Event()
        closing, first._closing = first._closing, lambda: (closing(), closed.set())
        with lease:
            shop.promote(shop.second)
            served.admin.swap()
            time.sleep(0.1)
            assert not closed.is_set()
            assert lease.model.rank(asked(1)).bundle_id == shop.first
        assert closed.wait(10)


def test_the_memory_of_a_bundle_that_has_gone_is_free(
    shop: Any, serve: Any, eventually: Any, quickly: Callable[..., Any]
) -> None:
    import gc
    import weakref

    gc.disable()  # a collection takes the lock that rankings need, so nothing may depend on one
    try:
        with serve(quickly, previous_kept_s=0, probation_s=0) as served:
            gone = weakref.ref(served.server._bundles.model)
            shop.promote(shop.second)
            served.admin.swap()
            eventually(lambda: gone() is None, 10)
    finally:
        gc.enable()
