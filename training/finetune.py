"""Fine-tune the text click predictor: by blocks of items and the lists that they touch, or by lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from recsys.metrics import click_report, list_metrics
from training.click_predictor import ClickPredictor
from training.click_trainer import TrainerConfig, run_trainer
from training.history_lists import HistoryLists
from training.text_lists import ItemIndex, ListBatch, Rows, TextLists

SCORING_BATCH = 512


class FinetuneConfig(TrainerConfig):
    """How the text click predictor is trained."""

    batch: Literal["items", "lists"] = Field(
        default="items", description="a step encodes a block of items for all their lists, or all items of some lists"
    )
    cache_history: bool = Field(default=False, description='with batch="lists": history vectors without gradient')
    epochs: int = Field(default=3, ge=1, description="passes over the catalog's texts, or over the lists")
    items_per_step: int = Field(default=128, ge=1, description='with batch="items": items encoded in one step')
    lists_per_step: int = Field(default=1024, ge=1, description="lists of one step, at most")
    clicked_share: float = Field(
        default=0.7, ge=0, le=1, description="share of them that clicked an item of the block, if there are so many"
    )
    shown_per_list: int = Field(default=24, ge=2, description="items of a list in one step, clicked ones first")
    drawn_negatives: int = Field(
        default=60, ge=0, description="items drawn against each earlier choice of a given history; 0 leaves it out"
    )
    bce: float = Field(default=0.3, ge=0, description="weight of the binary cross-entropy beside the softmax")
    frozen_layers: int = Field(default=3, ge=0, description="lower layers kept as they are, their activations cached")
    lora_rank: int = Field(default=0, ge=0, description="train LoRA adapters of this rank instead of all weights")
    dropout: float = Field(default=0.1, ge=0, lt=1)


class _ItemCollator:
    """A block of items -> the block, and lists that teach something about it; drawn by the block, hence resumable."""

    def __init__(self, lists: TextLists, chosen: Rows, config: FinetuneConfig) -> None:
        self._lists, self._config = lists, config
        self._index = ItemIndex(lists, chosen)
        self._history = HistoryLists(lists, chosen, negatives=config.drawn_negatives)

    def __call__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self._config.seed, *rows])
        block = np.array(rows, np.int64)
        share = self._config.clicked_share
        chosen = self._index.touching(block, self._config.lists_per_step, rng, clicked_share=share)
        shown = self._lists.batch(chosen, shown=self._config.shown_per_list, rng=rng)
        return _tensors(block, shown, self._history.beside(chosen, rng))


class _ListCollator:
    """Some lists -> the lists, and the texts that they hold: with or without the histories' own."""

    def __init__(self, lists: TextLists, chosen: Rows, config: FinetuneConfig) -> None:
        self._lists, self._config = lists, config
        self._history = HistoryLists(lists, chosen, negatives=config.drawn_negatives)

    def __call__(self, numbers: list[int]) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self._config.seed, *numbers])
        chosen = np.array(numbers, np.int64)
        shown = self._lists.batch(chosen, shown=self._config.shown_per_list, rng=rng)
        drawn = self._history.beside(chosen, rng)
        parts = [shown.candidates, *([drawn.candidates] if drawn else [])]
        parts += [] if self._config.cache_history else [shown.history]
        rows = np.unique(np.concatenate([part.ravel() for part in parts]))
        return _tensors(rows[rows < self._lists.pad], shown, drawn)


def _tensors(rows: Rows, shown: ListBatch, drawn: ListBatch | None) -> dict[str, torch.Tensor]:
    batches = {"": shown} if drawn is None else {"": shown, "drawn_": drawn}
    parts = {
        f"{prefix}{name}": torch.from_numpy(getattr(batch, name))
        for prefix, batch in batches.items()
        for name in batch.__dataclass_fields__
    }
    return {"rows": torch.from_numpy(rows), **parts}


def finetune(
    predictor: ClickPredictor,
    lists: TextLists,
    *,
    training: Rows,
    validation: Rows,
    config: FinetuneConfig,
    output: Path,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, float]:
    """Train on some lists and keep the epoch that ranks the validation lists best; resumes from ``output``.

    Returns:
        The metrics of the kept epoch, from ``report``; empty without validation lists.
    """

    def judge() -> dict[str, float]:
        with predictor.precision(bf16=config.bf16):
            predictor.refresh()
            return report(predictor, lists, validation)

    with predictor.precision(bf16=config.bf16):
        predictor.refresh()
    # What only a history holds learns too: above all the queries, which nobody is ever shown.
    items = np.union1d(lists.items[lists.rows(training)], lists.history[training])
    by_item = config.batch == "items"
    run_trainer(
        predictor,
        backbone=predictor.encoder.backbone,
        numbers=items[items < lists.pad] if by_item else training,
        batch=config.items_per_step if by_item else config.lists_per_step,
        collate=_ItemCollator(lists, training, config) if by_item else _ListCollator(lists, training, config),
        judge=judge if len(validation) else None,
        config=config,
        output=output,
        progress=progress,
    )
    with predictor.precision(bf16=config.bf16):
        predictor.refresh()
        return report(predictor, lists, validation) if len(validation) else {}


def score_lists(predictor: ClickPredictor, lists: TextLists, chosen: Rows) -> npt.NDArray[np.float32]:
    """Return the text outputs of the chosen lists' items, [their items in order, 5], from the predictor's table."""
    parts = []
    for start in range(0, len(chosen), SCORING_BATCH):
        batch = lists.batch(chosen[start : start + SCORING_BATCH])
        outputs = predictor.score(batch).float().cpu().numpy()
        lengths = lists.lists.lengths[chosen[start : start + SCORING_BATCH]]
        inside = np.arange(outputs.shape[1]) < lengths[:, None]
        parts.append(np.where((batch.candidates < lists.pad)[..., None], outputs, np.nan)[inside])
    return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, 5), np.float32)


def set_click_rate(predictor: ClickPredictor, lists: TextLists, chosen: Rows) -> None:
    """Shift the click logits, all alike, so that they foresee as many clicks on some lists as there were.

    That level does not follow from a training that draws lists by what was clicked. The order of items stays.
    """
    logits = score_lists(predictor, lists, chosen)[:, 0].astype(np.float64)
    rows, known = lists.rows(chosen), ~np.isnan(logits)
    logits, clicked = logits[known], lists.clicked[rows][known]
    weight = lists.weight[lists.lists.list_of_row[rows]][known]
    if not clicked.any() or clicked.all():
        return
    rate = np.average(clicked, weights=weight)
    low, high = -40.0 - logits.max(), 40.0 - logits.min()
    for _ in range(60):  # halvings: to the last digit
        middle = (low + high) / 2
        foreseen = np.average(0.5 + 0.5 * np.tanh((logits + middle) / 2), weights=weight)
        low, high = (low, middle) if foreseen > rate else (middle, high)
    with torch.no_grad():
        predictor.head.bias.add_(high)


def report(predictor: ClickPredictor, lists: TextLists, chosen: Rows) -> dict[str, float]:
    """Return AUC, MRR, nDCG@5, nDCG@10, hit@1 over lists, and precision, recall and F1 per class over clicks."""
    return report_scores(score_lists(predictor, lists, chosen)[:, 0].astype(np.float64), lists, chosen)


def report_scores(logits: npt.NDArray[np.float64], lists: TextLists, chosen: Rows) -> dict[str, float]:
    """Report as ``report`` does on click logits [items of the chosen lists, in order], NaN where there is no text."""
    clicked = lists.clicked[lists.rows(chosen)]
    offsets = np.concatenate([[0], np.cumsum(lists.lists.lengths[chosen])])
    per_list = list_metrics(logits, clicked, offsets)
    probability = 1.0 / (1.0 + np.exp(-np.nan_to_num(logits)))
    told = click_report(probability, clicked)
    per_class = {
        f"{name}.{figure}": value
        for name, of_class in told.classes.items()
        for figure, value in asdict(of_class).items()
    }
    return {**per_list.means(), **per_class, "log_loss": told.log_loss, "ece": told.ece}
