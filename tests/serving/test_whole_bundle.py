"""A real bundle behind a real port: callers get, to a millionth, what the same bundle computes offline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, HistoryEntry, ItemText, Ranking, RankRequest
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.server import RankingServer

HISTORY = (HistoryEntry(item_id="unheard-of", action="cart"), HistoryEntry(item_id="item-01", action="purchase"))


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> RankingPipeline:
    return RankingPipeline.load(tiny_bundle)


@pytest.fixture(scope="module")
def whole_client(tiny_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RankingClient]:
    """A client of a server that verified, loaded and warmed the registry's bundle."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = RankingServer(
        ServerConfig(registry=tiny_registry, data=tmp_path_factory.mktemp("live"), port=0, threads=2)
    )
    for step in (server.start, server.load):
        asyncio.run_coroutine_threadsafe(step(), loop).result(120)
    with RankingClient(server.address, deadline_s=30) as client:
        yield client
    assert asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def assert_same(served: Ranking, offline: Ranking) -> None:
    assert [item.item_id for item in served.items] == [item.item_id for item in offline.items]
    for ours, theirs in zip(served.items, offline.items, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-6, rel=0)
        assert ours.click_probability == pytest.approx(theirs.click_probability, abs=1e-6, rel=0)
    assert served.bundle_id == offline.bundle_id
    assert served.text_coverage == offline.text_coverage
    assert served.unknown_items == offline.unknown_items
    assert served.unknown_user == offline.unknown_user


@pytest.mark.parametrize(
    "fields",
    [{}, {"query": "a warm coat"}, {"history": ()}, {"history": HISTORY}, {"top_k": 3}, {"surface": "home"}],
    ids=str,
)
def test_scores_served_equal_scores_computed_offline(
    whole_client: RankingClient, pipeline: RankingPipeline, fields: dict[str, object]
) -> None:
    new = Candidate(item_id="new", text=ItemText(title="A warm coat", description="Wool", tags=("winter",)))
    known = [Candidate(item_id=item_id) for item_id in pipeline.catalog.ids[:20]]
    request = RankRequest(
        request_id="r-1",
        user_id="nobody",
        candidates=(*known, new, Candidate(item_id="unheard-of")),
        ts=pipeline.manifest.window.last_ts + 1,
        **fields,
    )

    assert_same(whole_client.rank_request(request), pipeline.rank(request))


def test_batch_scoring_gives_the_ranking_that_is_served(
    whole_client: RankingClient, tiny_bundle: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    from training.batch_score import score_lists

    lists = pl.read_parquet(tiny_dataset / "impressions.parquet").tail(5).drop("clicked")
    lists.write_parquet(tmp_path / "lists.parquet")
    score_lists(tiny_bundle, tmp_path / "lists.parquet", tmp_path / "out")

    scored = pl.read_parquet(tmp_path / "out" / "part-00000.parquet")
    for row, stored in zip(scored.iter_rows(named=True), lists.iter_rows(named=True), strict=True):
        ts = (stored["ts"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        served = whole_client.rank(stored["user_id"], stored["item_ids"], ts=ts, surface=stored["surface"])

        assert [item.item_id for item in served.items] == row["item_ids"]
        assert [item.score for item in served.items] == pytest.approx(row["scores"], abs=1e-6, rel=0)
        assert served.bundle_id == row["bundle_id"]


def test_what_moved_an_item_is_told_on_demand(whole_client: RankingClient, pipeline: RankingPipeline) -> None:
    told = whole_client.explain("nobody", pipeline.catalog.ids[:5], reasons=3)

    assert set(told.reasons) == set(pipeline.catalog.ids[:5])
    assert all(0 < len(reasons) <= 3 for reasons in told.reasons.values())


def test_the_bundle_describes_itself(whole_client: RankingClient, pipeline: RankingPipeline) -> None:
    info = whole_client.model_info()

    assert info.bundle_id == pipeline.bundle_id
    assert info.feature_names == tuple(pipeline.ranker.names)
    assert info.history_length == 16
    assert info.created_us > 0
