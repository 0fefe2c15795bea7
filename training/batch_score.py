"""Batch scoring: a catalog's vectors and click probabilities, or the server's ranking of stored requests, to Parquet.

A table is checked from end to end before the first shard is written: with one bad row in it nothing is scored, so that
nothing is lost silently. Ids are compared within a shard; one that comes again in another shard is scored again.
"""

from __future__ import annotations

from pathlib import Path

from recsys.bundle import read_bundle, read_manifest
from recsys.pipeline import RankingPipeline
from training.item_scorer import ItemScorer, encoder_file, words_read
from training.list_scorer import ListScorer
from training.score_job import Progress, Scored, ScoreJob, run_job
from training.stored_table import REQUESTS, item_form

__all__ = ["Progress", "Scored", "score_items", "score_lists"]


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
        items_file: an item table (.parquet, .csv, .jsonl): item_id, title, [description, category, tags], and what
            texts and lists of texts the bundle's own items have.
        out_dir: takes ``part-NNNNN.parquet`` and, last, ``_SUCCESS``; the same call again makes only what is missing.
        precision: fp32, int8 or fp16 for texts that the bundle holds no vector of.
        shard_rows: rows per shard, the unit of memory and of lost work.
        progress: told rows done and rows in all.

    Raises:
        DatasetError: everything that is wrong with the table; nothing was written.
        ConfigError: ``out_dir`` holds something else.
        BundleError: the bundle is damaged or has no encoder of this precision.
    """
    bundle = read_bundle(bundle_dir)
    encoder_file(bundle.manifest, precision)  # says at once that there is none
    job = ScoreJob(
        kind="items",
        form=item_form(words_read(bundle)),
        bundle_id=bundle.manifest.bundle_id,
        file=items_file,
        out=out_dir,
        shard_rows=shard_rows,
    )
    return run_job(job, {"precision": precision}, lambda: ItemScorer(bundle, precision), progress)


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
    job = ScoreJob(
        kind="lists",
        form=REQUESTS,
        bundle_id=read_manifest(bundle_dir).bundle_id,
        file=lists_file,
        out=out_dir,
        shard_rows=shard_rows,
    )
    return run_job(job, {}, lambda: ListScorer(RankingPipeline.load(bundle_dir)), progress)
