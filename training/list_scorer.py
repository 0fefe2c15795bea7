"""Ranks stored requests as the server would have ranked them."""

from __future__ import annotations

from typing import Any

import polars as pl

from recsys.pipeline import RankingPipeline
from recsys.schema import MAX_HISTORY, Candidate, HistoryEntry, RankRequest
from training.score_job import Tell


class ListScorer:
    """Ranks a part of a table of stored requests, one by one as they would be asked."""

    def __init__(self, pipeline: RankingPipeline) -> None:
        self._pipeline = pipeline

    def __call__(self, lists: pl.DataFrame, tell: Tell) -> pl.DataFrame:
        """Return request_id, bundle_id, item_ids, scores, click_probabilities and text_coverage of each request."""
        rankings = []
        for row in lists.with_columns(pl.col("ts").dt.epoch("us")).iter_rows(named=True):
            rankings.append(self._pipeline.rank(_request(row)))
            tell(1)
        columns: dict[str, tuple[pl.DataType, list[Any]]] = {
            "request_id": (pl.String(), [ranking.request_id for ranking in rankings]),
            "bundle_id": (pl.String(), [ranking.bundle_id for ranking in rankings]),
            "item_ids": (pl.List(pl.String()), [[item.item_id for item in ranking.items] for ranking in rankings]),
            "scores": (pl.List(pl.Float64()), [[item.score for item in ranking.items] for ranking in rankings]),
            "click_probabilities": (
                pl.List(pl.Float64()),
                [[item.click_probability for item in ranking.items] for ranking in rankings],
            ),
            "text_coverage": (pl.Float64(), [ranking.text_coverage for ranking in rankings]),
        }
        return pl.DataFrame([pl.Series(name, values, dtype=dtype) for name, (dtype, values) in columns.items()])


def _request(row: dict[str, Any]) -> RankRequest:
    history = row["history"]
    entries = None if history is None else tuple(HistoryEntry(item_id=item_id) for item_id in history[-MAX_HISTORY:])
    return RankRequest(
        request_id=row["request_id"],
        user_id=row["user_id"],
        ts=row["ts"],
        candidates=tuple(Candidate(item_id=item_id) for item_id in row["item_ids"]),
        history=entries,
        query=row["query"],
        surface=row["surface"],
    )
