"""A real bundle under watch: its stages and texts, a promotion that is not served yet, a store that goes away."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from recsys.events import Click, Impression, time_ordered_id
from recsys.pipeline import RankingPipeline
from recsys.registry import Registry
from recsys.schema import Candidate, Item, ItemText
from serving.admin_client import AdminClient
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.report import Store

COAT = Item(item_id="coat-1", text=ItemText(title="A warm coat"))


@pytest.fixture
def bundle(tiny_registry: Path) -> RankingPipeline:
    return RankingPipeline.load(tiny_registry / "bundles" / Registry(tiny_registry).current(), cuda=False)


@pytest.fixture
def settings(tiny_registry: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "registry": tiny_registry, "data": tmp_path / "live", "port": 0, "threads": 1, "metrics_port": 0,
        "admin_port": 0, "drift": 1, "drift_reference": 1,
    }  # fmt: skip


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_stages_texts_events_and_drift_of_a_real_bundle_are_told(
    serve: Any, bundle: RankingPipeline, settings: dict[str, Any], reader: Any
) -> None:
    items, now_us = bundle.catalog.ids[:5], time.time_ns() // 1_000
    with serve(bundle, ServerConfig(**settings)) as running, RankingClient(running.address, deadline_s=30) as client:
        figure = reader(running.metrics)
        before = figure("recsys_state_age_seconds")
        golden = figure("recsys_cache_misses_total", cache="vectors")  # the texts of the golden requests
        client.rank("u", [*items, Candidate(item_id="new", text=ItemText(title="Never seen")), "unknown"])
        client.rank("u", items)
        shown = Impression(event_id="e-1", request_id="r", user_id="u", ts=now_us, item_ids=tuple(items))
        client.record([shown, Click(event_id="e-2", request_id="r", item_id=items[0], ts=now_us)])
        client.upsert_items([COAT])
        wait_until(lambda: figure("recsys_pending_texts") == 0)
        client.upsert_items([Item(item_id="coat-2", text=COAT.text)])

        for stage in ("queue", "features", "text", "ranker", "wire"):
            assert figure("recsys_stage_seconds_count", stage=stage) == 2
        assert figure("recsys_unknown_items_total") == 2
        assert figure("recsys_text_coverage_ratio_sum") == pytest.approx(6 / 7 + 1)
        assert before > 3_600 > figure("recsys_state_age_seconds")
        assert (figure("recsys_event_log_sequence"), figure("recsys_state_behind_events")) == (2, 0)
        assert (
            figure("recsys_cache_misses_total", cache="vectors") - golden == 2
        )  # the text that was sent, and the coat
        assert figure("recsys_cache_hits_total", cache="vectors") == 1
        wait_until(lambda: figure("recsys_drift_window_lists") == 1)
        assert running.telemetry.sampler.features == bundle.strongest_features[:30]


def test_a_bundle_that_is_promoted_and_not_served_is_told(
    serve: Any, bundle: RankingPipeline, settings: dict[str, Any], tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    shutil.copytree(settings["registry"], registry, ignore=shutil.ignore_patterns("live"))
    with ExitStack() as stack:
        running = stack.enter_context(serve(bundle, ServerConfig(**{**settings, "registry": registry})))
        admin = stack.enter_context(AdminClient(running.admin))
        first = admin.status()
        (registry / "PREVIOUS").write_text(f"{bundle.bundle_id}\n20260102T030405Z-0123abcd\n")
        (registry / "CURRENT").write_text("20260102T030405Z-0123abcd\n")
        second = admin.status()

    assert (first.bundle_id, first.current_bundle_id) == (bundle.bundle_id, bundle.bundle_id)
    assert (second.bundle_id, second.current_bundle_id) == (bundle.bundle_id, "20260102T030405Z-0123abcd")
    assert second.swaps.before == ""  # the registry's former bundle has not served here


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("NOT CHECKED: there is no redis-server or valkey-server on this machine")
    socket = tmp_path / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_store_that_goes_away_is_seen_everywhere(
    serve: Any,
    bundle: RankingPipeline,
    settings: dict[str, Any],
    reader: Any,
    redis: subprocess.Popen[bytes],
    tmp_path: Path,
) -> None:
    config = ServerConfig(**settings, store=f"unix://{tmp_path}/redis.sock", store_limit_s=1)
    now_us = time.time_ns() // 1_000
    shown = [
        Impression(event_id=f"e-{n}", request_id=f"r-{n}", user_id="u", ts=now_us, item_ids=bundle.catalog.ids[:2])
        for n in range(2)
    ]
    with (
        serve(bundle, config) as running,
        RankingClient(running.address, deadline_s=30) as client,
        AdminClient(running.admin) as admin,
    ):
        figure = reader(running.metrics)
        client.record(shown[:1])
        assert client.rank("u", bundle.catalog.ids[:5], request_id=time_ordered_id(now_us)).degraded == ()
        well = admin.status()
        redis.kill()
        redis.wait()
        gone = admin.status()  # seen before anybody has asked it in vain
        assert client.rank("u", bundle.catalog.ids[:5]).degraded == ("no_state",)
        client.record(shown[1:])
        ill = admin.status()

        assert (well.store, well.degraded) == (Store.UP_TO_DATE, {})
        assert (gone.store, gone.degraded) == (Store.AWAY, {})
        assert (ill.store, ill.degraded) == (Store.AWAY, {"no_state": 1})
        assert figure("recsys_store_away") == 1
        assert figure("recsys_store_behind") == 1
        assert figure("recsys_store_missed_total") == 1
        assert figure("recsys_degraded_answers_total", reason="no_state") == 1
        assert figure("recsys_rank_seconds_count", rung="full") == 2
