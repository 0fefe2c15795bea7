"""A whole bundle ranks by the shared state, and without it says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.dataset import read_dataset
from recsys.events import Click, Impression, Logged
from recsys.pipeline import RankingPipeline
from recsys.schema import NO_STATE, Candidate, Ranking, RankRequest
from serving.convert import ranking_from_wire, ranking_to_wire
from serving.pb import ranking_pb2 as pb
from serving.shared_state import RedisSettings, connect


@pytest.fixture(scope="module")
def bundled(tiny_bundle: Path) -> RankingPipeline:
    return RankingPipeline.load(tiny_bundle, cuda=False)


@pytest.fixture
def pipeline(bundled: RankingPipeline) -> Iterator[RankingPipeline]:
    """The pipeline with its own state, which a test may replace."""
    own = bundled.state
    yield bundled
    bundled.state = own


def request_of(pipeline: RankingPipeline, user: str) -> RankRequest:
    candidates = tuple(Candidate(item_id=item_id) for item_id in pipeline.catalog.ids[:20])
    ts = pipeline.manifest.window.last_ts + 3_600_000_000
    return RankRequest(request_id="r1", user_id=user, candidates=candidates, ts=ts, surface="home")


@pytest.fixture(scope="module")
def user(tiny_dataset: Path) -> str:
    """One whom the bundle knows."""
    found: str = read_dataset(tiny_dataset).impressions["user_id"][0]
    return found


def without_times(ranking: Ranking) -> Ranking:
    return replace(ranking, stage_seconds={}, state_versions={})


def test_a_ranking_is_the_same_by_both_states(pipeline: RankingPipeline, server: Any, prefix: str, user: str) -> None:
    settings = RedisSettings(prefix=prefix, limit_s=5.0)
    request = request_of(pipeline, user)
    in_process = pipeline.rank(request)

    pipeline.state = shared = connect(server.url, pipeline, settings)
    assert without_times(pipeline.rank(request)) == without_times(in_process)

    shown = Impression(
        event_id="e1", request_id="r0", user_id=user, ts=request.ts - 2, item_ids=(pipeline.catalog.ids[0],)
    )
    click = Click(event_id="e2", request_id="r0", item_id=pipeline.catalog.ids[0], ts=request.ts - 1)
    told = [Logged(sequence=1, event=shown), Logged(sequence=2, event=click, shown=shown)]
    shared.catch_up("log-a", lambda _: told)
    after = pipeline.rank(request)

    assert after.state_versions == {"log-a": 2}
    assert after.degraded == ()
    assert [item.score for item in after.items] != [item.score for item in in_process.items]
    shared.close()


def test_without_the_store_a_ranking_is_degraded_and_says_so(pipeline: RankingPipeline, user: str) -> None:
    request = request_of(pipeline, user)
    in_process = pipeline.rank(request)
    assert in_process.degraded == ()
    assert not in_process.unknown_user

    pipeline.state = shared = connect("redis://127.0.0.1:1/0", pipeline)
    ranking = pipeline.rank(request)
    shared.close()

    assert ranking.degraded == (NO_STATE,)
    assert ranking.unknown_user
    assert ranking.state_versions == {}
    assert len(ranking.items) == 20
    message = ranking_to_wire(ranking, {}, per_item=0)
    assert list(message.degraded) == [pb.DEGRADATION_NO_STATE]
    assert ranking_from_wire(message).degraded == (NO_STATE,)


def test_a_pipeline_shares_its_state_once(pipeline: RankingPipeline) -> None:
    pipeline.state = shared = connect("redis://127.0.0.1:1/0", pipeline)
    shared.close()

    with pytest.raises(TypeError, match="already"):
        connect("redis://127.0.0.1:1/0", pipeline)
