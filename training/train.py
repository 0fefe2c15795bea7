"""The retraining job: a dataset in, a bundle in a registry out; interrupted, it goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue
from torch import distributed

from recsys.bundle import ManifestDraft, TextModel, TrainingWindow
from recsys.calibration import Calibration
from recsys.catalog import Catalog
from recsys.dataset import Dataset
from recsys.errors import DatasetError, Fault
from recsys.features import FeatureState, column_names, features_and_histories
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.registry import Registry
from recsys.text.grid import TEXT_GRID
from training.calibrate import fit_calibration
from training.config import TrainConfig
from training.fit_ranker import FittedRanker, fit_ranker
from training.golden import golden_requests
from training.outages import OutageRows, draw_outages
from training.publish_text import ExportedText, export_text
from training.split import test_lists
from training.text_training import HistoriesInOutages, Tell, TrainedText, TrainingLists, train_text, weights_fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a job made: the new version, and what it measured on the way (never on the test lists)."""

    bundle_id: str
    directory: Path
    metrics: dict[str, object]


def train(
    dataset: Dataset, registry: Path, config: TrainConfig, tell: Tell, *, promote: bool = True, keep_work: bool = False
) -> Published | None:
    """Train on a dataset's training lists and publish the bundle.

    Args:
        dataset: a validated dataset; its test lists are not looked at unless ``config.holdout`` is off.
        registry: where the version goes; its ``jobs`` folder holds checkpoints and TensorBoard logs while the job runs.
        config: the whole configuration; same configuration and data, same numbers.
        tell: told stage, share done and a remark, for a progress bar.
        promote: make the new version the current one.
        keep_work: leave the job's folder where it is.

    Returns:
        What was published; None in all but the first process of a ``torchrun``: the others fine-tune, no more.

    Raises:
        DatasetError: there is nothing to learn from.
    """
    impressions = test_lists(dataset.impressions)[0] if config.holdout else dataset.impressions
    _check(impressions)
    work = registry / "jobs" / _job_id(dataset, impressions, config)
    work.mkdir(parents=True, exist_ok=True)
    catalog = Catalog(dataset.items)
    tell("features", 0.0, "")
    state = FeatureState(catalog)
    log = _training_lists(impressions, catalog)
    behaviour, histories = features_and_histories(
        state, impressions, dataset.events, log.lists, config.text.history_length, skips=config.text.skips
    )
    outages, behaviour_then = _in_outages(dataset, impressions, log, catalog, config)
    text = train_text(catalog, histories, log, config, work, tell, outages=outages)
    if distributed.is_initialized() and distributed.get_rank():
        return None
    tell("export", 0.0, "")
    exported = export_text(text, len(catalog), tell)
    tell("ranker", 0.0, "")
    fitted = fit_ranker(
        behaviour,
        text.scores,
        log.lists,
        log.clicked,
        log.weight,
        config.ranker,
        behaviour_names=state.feature_set.names,
        outages=OutageRows(numbers=outages.numbers, behaviour=behaviour_then, text=text.outage_scores),
    )
    files = _files(dataset, state, text, exported, fitted, _item_calibration(log, exported))
    draft = _draft(impressions, state, text, exported, fitted, config, catalog)
    golden = golden_requests(impressions, RankingPipeline(files, draft, cuda=False))
    tell("publish", 0.0, "")
    store = Registry(registry)
    bundle_id = store.publish(files, draft.model_copy(update={"golden": golden}), promote=promote)
    if not keep_work:
        shutil.rmtree(work, ignore_errors=True)
    tell("publish", 1.0, bundle_id)
    return Published(bundle_id=bundle_id, directory=store.path(bundle_id), metrics=dict(draft.metrics))


def _in_outages(
    dataset: Dataset, impressions: pl.DataFrame, log: TrainingLists, catalog: Catalog, config: TrainConfig
) -> tuple[HistoriesInOutages, npt.NDArray[np.float32]]:
    """Draw the lists to be learned as if the event stream had stopped; return their histories and features then."""
    drawn = draw_outages(log.lists.ts, config.ranker)
    behaviour, histories = features_and_histories(
        FeatureState(catalog),
        impressions,
        dataset.events,
        log.lists.take(drawn.numbers),
        config.text.history_length,
        skips=config.text.skips,
        known_until=drawn.known_until,
    )
    return HistoriesInOutages(numbers=drawn.numbers, histories=histories), behaviour


def _item_calibration(log: TrainingLists, exported: ExportedText) -> Calibration:
    """Learn how probable a click on an item is by its text alone; the logit leaves the average user's match out."""
    rows = log.lists.item_rows
    known = np.flatnonzero(rows >= 0)
    logits = exported.vectors.item_logits[rows[known]].astype(np.float64)
    return fit_calibration(logits, log.clicked[known], log.weight[log.lists.list_of_row][known])


def _files(
    dataset: Dataset,
    state: FeatureState,
    text: TrainedText,
    exported: ExportedText,
    fitted: FittedRanker,
    item_calibration: Calibration,
) -> dict[str, bytes]:
    return {
        **exported.files,
        "tokenizer.json": text.tokenizer_json,
        "vectors.safetensors": exported.vectors.to_bytes(),
        "ranker.txt": fitted.model_text.encode(),
        "ranker_behaviour.txt": fitted.behaviour_model_text.encode(),
        "calibration.json": fitted.calibration.to_json(),
        "behaviour_calibration.json": fitted.behaviour_calibration.to_json(),
        "item_calibration.json": item_calibration.to_json(),
        "items.parquet": _parquet(dataset.items),
        "state.safetensors": state.to_bytes(),
    }


def _draft(
    impressions: pl.DataFrame,
    state: FeatureState,
    text: TrainedText,
    exported: ExportedText,
    fitted: FittedRanker,
    config: TrainConfig,
    catalog: Catalog,
) -> ManifestDraft:
    ts = impressions["ts"].dt.epoch("us")
    return ManifestDraft(
        feature_names=state.feature_set.names,
        feature_fingerprint=state.feature_set.fingerprint,
        ranker_columns=column_names(state.feature_set.names),
        text=TextModel(
            fingerprint=weights_fingerprint(text.predictor),
            tokenizer=config.text.tokens.model_dump(),
            dimensions=config.text.dimensions,
            history_length=config.text.history_length,
            skips=config.text.skips,
            grid=TEXT_GRID,
            variants=exported.variants,
        ),
        window=TrainingWindow(
            first_ts=int(ts[0]),
            last_ts=int(ts[-1]),
            lists=impressions.height,
            items=len(catalog),
        ),
        metrics={"text": _plain(text.metrics), "drift": _plain(exported.drift), "ranker": _plain(fitted.report)},
        config=config.model_dump(mode="json"),
    )


def _training_lists(impressions: pl.DataFrame, catalog: Catalog) -> TrainingLists:
    return TrainingLists(
        lists=Lists.from_impressions(impressions, catalog),
        clicked=impressions["clicked"].explode(empty_as_null=False).to_numpy().astype(np.bool_),
        weight=impressions["weight"].to_numpy().astype(np.float32),
    )


def _check(impressions: pl.DataFrame) -> None:
    """Refuse a log without a single list that says which item was preferred to which."""
    clicks, length = impressions["clicked"].list.sum(), impressions["clicked"].list.len()
    useful = int(((clicks > 0) & (clicks < length)).sum())
    if useful < 20:
        raise DatasetError(
            [
                Fault(
                    file="impressions",
                    column="clicked",
                    row=0,
                    problem=f"only {useful} training lists hold both a click and a non-click",
                    remedy="a model needs at least 20, and thousands to be good; export a longer log",
                )
            ]
        )


def _plain(figures: Mapping[str, Any]) -> JsonValue:
    """Turn figures into what a manifest may hold: a figure that is not a number is left out."""
    plain: JsonValue = json.loads(json.dumps(figures), parse_constant=lambda _: None)
    return plain


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _job_id(dataset: Dataset, impressions: pl.DataFrame, config: TrainConfig) -> str:
    """Name the job by what goes in, so that the same command finds its own unfinished work, and no other's."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    for frame in (dataset.items, impressions):
        digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()[:12]
