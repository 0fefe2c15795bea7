"""A bundle that does worse than the one before is not taken, or taken back, unless the guard is off."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import SwapRefused, TextFault
from recsys.pipeline import RankingPipeline
from recsys.registry import resolve
from recsys.schema import RankRequest, Rung
from recsys.scored import Scored
from serving.client import ServiceError


def faulty(bundle_id: str, fault: Callable[[Scored], Scored]) -> Callable[[Path], RankingPipeline]:
    """Load bundles, and plant a fault into the answers of one, other than those to its golden requests."""

    class Faulty(RankingPipeline):
        def rank_many(self, requests: Sequence[RankRequest], *step: Any) -> Any:
            scored = super().rank_many(requests, *step)
            return [fault(each) if each.request.request_id.startswith("r-") else each for each in scored]

    def load(path: Path) -> RankingPipeline:
        bundle = resolve(path)
        return (Faulty if bundle.name == bundle_id else RankingPipeline).load(bundle)

    return load


def fails(scored: Scored) -> Scored:
    if int(scored.request.request_id.removeprefix("r-")) % 5 == 0:
        raise KeyError("a fault of this bundle alone")
    return scored


def is_mute(scored: Scored) -> Scored:
    if scored.rung is Rung.FULL and int(scored.request.request_id.removeprefix("r-")) % 5 == 0:
        raise TextFault("the text model fails")  # and the request is answered without it
    return scored


def dawdles(scored: Scored) -> Scored:
    return replace(scored, seconds={stage: 50 * spent for stage, spent in scored.seconds.items()})


def ask(served: Any, asked: Any, count: int, first: int = 1) -> list[str]:
    """Rank so many times; returns by whom, "" where it failed."""
    by = []
    for number in range(first, first + count):
        try:
            by.append(served.client.rank_request(asked(number)).bundle_id)
        except ServiceError:
            by.append("")
    return by


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (fails, "failed by the server's fault"),
        (is_mute, "failed by the server's fault"),
        (dawdles, "times as long"),
    ],
)
def test_a_bundle_that_fails_or_dawdles_is_taken_back(
    shop: Any, serve: Any, asked: Any, eventually: Any, fault: Any, says: str
) -> None:
    with serve(faulty(shop.second, fault)) as served:
        ask(served, asked, 60, first=1 if fault is dawdles else 10_001)
        eventually(lambda: len(served.server._bundles.recent) == 60)  # each is noted right after its answer
        served.server._bundles.recent.clear()  # or the failing one would be refused before it is taken
        shop.promote(shop.second)
        served.admin.swap()
        assert shop.second in ask(served, asked, 80)
        eventually(lambda: served.serving == shop.first)
        eventually(lambda: [each.bundle_id for each in served.admin.status().swaps.loaded] == [shop.first])
        time.sleep(0.3)  # the registry still says the second
        report = served.admin.status()
        assert "" not in ask(served, asked, 10)
        assert served.figure("recsys_swaps_total", outcome="rolled_back_by_alarm") == 1

    assert (report.bundle_id, report.current_bundle_id) == (shop.first, shop.second)
    assert says in report.swaps.last_refusal.reason
    assert report.swaps.last_refusal.bundle_id == shop.second
    assert report.swaps.last_swap.reason.startswith("rolled back by alarm")
    assert [each.bundle_id for each in report.swaps.loaded] == [shop.first]


def test_without_probation_the_fault_goes_through(shop: Any, serve: Any, asked: Any) -> None:
    """The control of the test above."""
    with serve(faulty(shop.second, fails), probation_s=0) as served:
        shop.promote(shop.second)
        served.admin.swap()
        by = ask(served, asked, 100)
        time.sleep(0.6)
        assert served.serving == shop.second

    assert by.count("") == 20


def test_a_bundle_that_cannot_answer_what_was_asked_of_late_is_not_taken(shop: Any, serve: Any, asked: Any) -> None:
    with serve(faulty(shop.second, fails)) as served:
        for number in range(5):
            served.client.rank_request(asked(number))
        shop.promote(shop.second)
        with pytest.raises(SwapRefused, match=r"cannot be used \(KeyError\)"):
            served.admin.swap()
        assert served.serving == shop.first


def test_a_bundle_that_turns_the_order_around_is_not_taken(
    shop: Any, serve: Any, asked: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly) as served:
        ask(served, asked, 10)
        shop.promote(shop.turned)
        with pytest.raises(SwapRefused, match=r"0% are among .* --any-order"):
            served.admin.swap()
        assert served.serving == shop.first
        assert served.admin.swap(any_order=True) == (shop.turned, shop.first)  # if that is meant
        ask(served, asked, 200)
        time.sleep(0.6)
        assert served.serving == shop.turned


def test_with_that_guard_off_it_is_taken(shop: Any, serve: Any, asked: Any, quickly: Callable[..., Any]) -> None:
    """The control of the test above."""
    with serve(quickly, least_overlap=0) as served:
        ask(served, asked, 10)
        shop.promote(shop.turned)
        assert served.admin.swap() == (shop.turned, shop.first)


def test_where_nothing_was_asked_before_the_swap_the_order_shows_after_it(
    shop: Any, serve: Any, asked: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly) as served:
        shop.promote(shop.turned)
        served.admin.swap()
        end, number = time.monotonic() + 60, 0
        while served.serving == shop.turned:
            assert time.monotonic() < end
            served.client.rank_request(asked(number))
            number += 1
        reason = served.admin.status().swaps.last_refusal.reason

    assert "first ten" in reason


def test_after_its_probation_a_bundle_stays_and_the_one_before_goes(
    shop: Any, serve: Any, eventually: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly, probation_s=2, previous_kept_s=0) as served:
        shop.promote(shop.second)
        served.admin.swap()
        assert [each.bundle_id for each in served.admin.status().swaps.loaded] == [shop.second, shop.first]
        eventually(lambda: len(served.admin.status().swaps.loaded) == 1)
        assert served.serving == shop.second
        assert math.isclose(served.figure("recsys_bundles_loaded", bundle_id=shop.second, role="serving"), 1)
