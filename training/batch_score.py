"""Batch scoring: a catalog's vectors and click probabilities, or the server's ranking of stored requests, to Parquet.

A table is checked from end to end before the first shard is written: with one bad row in it nothing is scored, so that
nothing is lost silently. Only ids are compared within a shard alone; an id that comes again in another is scored again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from recsys.bundle import read_bundle, read_manifest
from recsys.errors import ConfigError
from recsys.files import fsync_directory
from recsys.pipeline import RankingPipeline
from recsys.schema import MAX_HISTORY, Candidate, HistoryEntry, RankRequest
from training.item_scorer import ItemScorer
from training.shards import Shards, file_sha256
from training.stored_table import ITEM_TEXTS, REQUESTS, Form, open_table

Progress = Callable[[int, int], None]
"""Told rows done and rows in all; the first call counts what was there already, so time only what comes after it."""

Tell = Callable[[int], None]
ScorePart = Callable[[pl.DataFrame, Tell], pl.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a job left in its directory, and how fast this run was; ``shards_kept`` were there already."""

    bundle_id: str
    rows: int
    shards: int
    shards_kept: int
    seconds: float
    rows_per_second: float

    def __str__(self) -> str:
        """Say it in one line."""
        kept = f" ({self.shards_kept:,} of them there already)" if self.shards_kept else ""
        pace = f", {self.rows_per_second:,.0f} rows/s" if self.rows_per_second else ""
        return f"{self.rows:,} rows in {self.shards:,} shards{kept} by bundle {self.bundle_id}{pace}"


def score_items(
    bundle_dir: Path,
    items_file: Path,
    out_dir: Path,
    *,
    precision: str = "fp32",
    shard_rows: int = 50_000,
    progress: Progress | None = None,
) -> Scored:
    """Write each item's ``vector``, ``item_logit`` and item-only ``click_probability``, in the order of the file.

    Args:
        bundle_dir: the bundle.
        items_file: an item table (.parquet, .csv, .jsonl): item_id, title, [description, category, tags].
        out_dir: takes ``part-NNNNN.parquet`` and, last, ``_SUCCESS``; the same call again makes only what is missing.
        precision: fp32, int8 or fp16 for texts that the bundle holds no vector of.
        shard_rows: rows per shard, the unit of memory and of lost work.
        progress: told rows done and rows in all.

    Raises:
        DatasetError: everything that is wrong with the table; nothing was written.
        ConfigError: ``out_dir`` holds something else.
        BundleError: the bundle is damaged or has no encoder of this precision.
    """
    ItemScorer.check(read_manifest(bundle_dir), precision)
    job = _Job(
        kind="items", form=ITEM_TEXTS, bundle_dir=bundle_dir, file=items_file, out=out_dir, shard_rows=shard_rows
    )
    return _run(job, {"precision": precision}, lambda: ItemScorer(read_bundle(bundle_dir), precision), progress)


def score_lists(
    bundle_dir: Path,
    lists_file: Path,
    out_dir: Path,
    *,
    shard_rows: int = 10_000,
    progress: Progress | None = None,
) -> Scored:
    """Rank stored requests as the server does, each as of its own time.

    A shard's rows are request_id, bundle_id, ``item_ids`` best first with their ``scores`` and ``click_probabilities``,
    and ``text_coverage``. Of a history the newest ``MAX_HISTORY`` entries count, as a request cannot hold more.

    Args:
        bundle_dir: the bundle.
        lists_file: (.parquet, .csv, .jsonl) request_id, user_id, ts, item_ids, [history, query, surface].
        out_dir: as for ``score_items``.
        shard_rows: requests per shard.
        progress: told rows done and rows in all.

    Raises:
        DatasetError: everything that is wrong with the table; nothing was written.
        ConfigError: ``out_dir`` holds something else.
        BundleError: the bundle is damaged.
    """
    job = _Job(kind="lists", form=REQUESTS, bundle_dir=bundle_dir, file=lists_file, out=out_dir, shard_rows=shard_rows)
    return _run(job, {}, lambda: _ListScorer(RankingPipeline.load(bundle_dir)), progress)


class _ListScorer:
    """Ranks a part of a table of stored requests, one by one as they would be asked."""

    def __init__(self, pipeline: RankingPipeline) -> None:
        self._pipeline = pipeline

    def __call__(self, lists: pl.DataFrame, tell: Tell) -> pl.DataFrame:
        rankings = []
        for row in lists.iter_rows(named=True):
            rankings.append(self._pipeline.rank(_request(row)))
            tell(1)
        schema = {
            "request_id": pl.String(),
            "bundle_id": pl.String(),
            "item_ids": pl.List(pl.String()),
            "scores": pl.List(pl.Float64()),
            "click_probabilities": pl.List(pl.Float64()),
            "text_coverage": pl.Float64(),
        }
