"""What the tests of items that change say and ask again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, ItemText, Ranking, RankRequest


def frame(*items: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(items))


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def finish(pipeline: RankingPipeline) -> None:
    wait_for(lambda: not pipeline.pending_texts)


def ask(pipeline: RankingPipeline, *candidates: str | Candidate, **fields: Any) -> RankRequest:
    return RankRequest(
        user_id="nobody",
        candidates=tuple(Candidate(item_id=each) if isinstance(each, str) else each for each in candidates),
        ts=pipeline.manifest.window.last_ts + 1,
        **fields,
    )


def rank(pipeline: RankingPipeline, *candidates: str | Candidate, **fields: Any) -> Ranking:
    return pipeline.rank(ask(pipeline, *candidates, **fields))


def outputs(pipeline: RankingPipeline, *item_ids: str, **fields: Any) -> np.ndarray:
    request = ask(pipeline, *item_ids, **fields)
    return pipeline.list_text.of_requests(
        [request], pipeline.state.look(Lists.from_requests([request], pipeline.catalog))
    )[0]


def vector(pipeline: RankingPipeline, item_id: str) -> bytes:
    (row,) = pipeline.catalog.rows([item_id])
    vectors, logits = pipeline.vectors.at(pipeline.vectors.with_text(np.array([row])))
    return vectors.tobytes() + logits.tobytes()


def apart(pipeline: RankingPipeline, text: ItemText) -> bytes:
    encoded = pipeline.text.encode([text])
    return encoded.vectors.tobytes() + encoded.item_logits.tobytes()


def text_of(pipeline: RankingPipeline, item_id: str) -> ItemText:
    return pipeline.catalog.texts(pipeline.catalog.rows([item_id]).tolist())[0]


def blocked(pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hold the background thread back until the event is set; what it then does is real."""
    release, real = threading.Event(), pipeline.items.reader._read_each

    def held(rows: list[int]) -> list[int]:
        release.wait(30)
        return real(rows)

    monkeypatch.setattr(pipeline.items.reader, "_read_each", held)
    return release
