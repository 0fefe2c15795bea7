"""A whole bundle ranks by rows of resident vectors as it does by the vectors; shown on the CPU, where both can run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.bundle import read_bundle
from recsys.gpu import Gpu
from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, HistoryEntry, ItemText, RankRequest
from recsys.text.grid import TEXT_GRID, on_grid
from recsys.text.resident_head import ResidentHead

NEW = Candidate(item_id="new-0", text=ItemText(title="Warm wool socks", category="Clothing"))


@pytest.fixture(scope="module")
def plain(tiny_bundle: Path) -> RankingPipeline:
    return RankingPipeline.load(tiny_bundle, cuda=False)


@pytest.fixture(scope="module")
def resident(tiny_bundle: Path) -> RankingPipeline:
    """The same bundle, scored as on a GPU, on the CPU."""
    pipeline = RankingPipeline.load(tiny_bundle, cuda=False)
    head = ResidentHead.open((tiny_bundle / "click_head.onnx").read_bytes(), device="cpu", threads=1, gpu=Gpu())
    pipeline.text.head.resident = head
    assert head is not None
    return pipeline


def requests(pipeline: RankingPipeline) -> list[RankRequest]:
    ids = pipeline.catalog.ids
    known = tuple(Candidate(item_id=item_id) for item_id in ids[:20])
    golden = [each.request for each in pipeline.manifest.golden]
    asked = RankRequest(
        user_id="ann", candidates=known, ts=golden[0].ts, history=(HistoryEntry(item_id=ids[3], ts=golden[0].ts - 1),)
    )
    return [
        *golden,
        asked,
        replace(asked, query="something warm"),
        replace(asked, candidates=(*known, NEW), query="something warm"),
        replace(asked, candidates=(Candidate(item_id="nobody"),), history=()),
    ]


def answers(pipeline: RankingPipeline, asked: RankRequest) -> Any:
    return replace(pipeline.rank(asked), stage_seconds={})


def test_rankings_are_the_same_to_the_bit(plain: RankingPipeline, resident: RankingPipeline) -> None:
    for asked in requests(plain):
        assert answers(resident, asked) == answers(plain, asked)


def test_so_they_are_where_several_are_ranked_in_one_pass(plain: RankingPipeline, resident: RankingPipeline) -> None:
    asked = requests(plain)

    for ours, theirs in zip(plain.rank_many(asked), resident.rank_many(asked), strict=True):
        assert ours.table.tobytes() == theirs.table.tobytes()
        assert ours.scores.tobytes() == theirs.scores.tobytes()


def test_so_they_are_after_items_came_while_it_served(plain: RankingPipeline, resident: RankingPipeline) -> None:
    items = pl.DataFrame({"item_id": ["late-1", "late-2"], "title": ["Late socks", "Later socks"]})
    for pipeline in (plain, resident):
        pipeline.upsert(items)
        while pipeline.pending_texts:
            pass
    for asked in requests(plain):
        late = (Candidate(item_id="late-1"), Candidate(item_id="late-2"), *asked.candidates)
        assert answers(resident, replace(asked, candidates=late)) == answers(plain, replace(asked, candidates=late))


def test_a_bundle_from_before_the_grid_keeps_its_outputs_as_they_are(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    assert bundle.manifest.text.grid == TEXT_GRID
    before = bundle.manifest.model_copy(update={"text": bundle.manifest.text.model_copy(update={"grid": 0.0})})
    old, new = (RankingPipeline(bundle.files, manifest, cuda=False) for manifest in (before, bundle.manifest))
    asked = bundle.manifest.golden[0].request
    raw, rounded = (pipeline.table(asked, _seen(pipeline, asked))[:, :5] for pipeline in (old, new))

    assert not np.array_equal(raw, rounded, equal_nan=True)
    np.testing.assert_allclose(rounded, on_grid(raw, TEXT_GRID), atol=2e-6)  # the grid of every column of the table


def _seen(pipeline: RankingPipeline, request: RankRequest) -> Any:
    from recsys.lists import Lists

    return pipeline.state.look(Lists.from_requests([request], pipeline.catalog))
