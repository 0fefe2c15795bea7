"""Trains the text model forward in time: on the past, to score the next slice of the log; at last on all of it.

Each list is scored by a model that stopped before it, or not at all, so the ranker meets text scores as it will in
service (prequential evaluation, Dawid 1984; out-of-time stacking). What is served has learned from the whole log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save as save_tensors

from recsys.catalog import Catalog
from recsys.features import Histories
from recsys.files import write_file
from recsys.lists import Lists
from recsys.schema import TEXT_OUTPUTS, ItemText
from recsys.text.grid import TEXT_GRID, on_grid
from recsys.text.tokens import ItemTokenizer, Tokens
from training.backbone import load_backbone, load_tokenizer, with_lora
from training.click_model import ClickHead, ClickModelConfig, ItemEncoder
from training.click_predictor import ClickPredictor, prepare_head
from training.config import TrainConfig
from training.finetune import FinetuneConfig, finetune, report, score_lists, set_click_rate
from training.fit_ranker import TextScores
from training.text_lists import Rows, TextLists

# Lists of one step while the head alone is trained, and its learning rates before and after the encoder's turn.
HEAD_LISTS = 64
WARM_LR = 1e-3
SETTLE_LR = 3e-4

Tell = Callable[[str, float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedText:
    """The text model to serve, the out-of-time scores for the ranker, and what each slice was measured at.

    ``outage_scores`` [R of those lists, 5] are the same models' scores of the lists with outages. Both lie on
    ``recsys.text.grid.TEXT_GRID``, as those of the served model will.
    """

    predictor: ClickPredictor
    tokenizer_json: bytes
    tokens: Tokens
    scores: TextScores
    outage_scores: npt.NDArray[np.float32]
    lists: TextLists
    metrics: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLists:
    """The log that a job learns from: encoded lists in time order, clicks per item [R], weight per list [L]."""

    lists: Lists
    clicked: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoriesInOutages:
    """The numbers of the lists with outages [S], and their users' histories as known then [S, H]."""

    numbers: Rows
    histories: Histories


def train_text(
    catalog: Catalog,
    histories: Histories,
    log: TrainingLists,
    config: TrainConfig,
    work: Path,
    tell: Tell,
    *,
    outages: HistoriesInOutages,
) -> TrainedText:
    """Fine-tune slice by slice; what an earlier, interrupted run finished in ``work`` is not done again."""
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.text.backbone)
    texts, query_rows = with_queries(catalog, log.lists)
    tokens = ItemTokenizer(tokenizer, config.text.tokens).encode(texts)
    lists = TextLists(log.lists, histories, log.clicked, pad=len(texts), query_rows=query_rows, weight=log.weight)
    outage_lists = TextLists(
        log.lists.take(outages.numbers),
        outages.histories,
        log.clicked[log.lists.rows_of(outages.numbers)],
        pad=len(texts),
        query_rows=query_rows[outages.numbers],
        weight=log.weight[outages.numbers],
    )
    outage_values = np.full((len(outage_lists.clicked), len(TEXT_OUTPUTS)), np.nan, np.float32)
    values = np.full((len(log.clicked), len(TEXT_OUTPUTS)), np.nan, np.float32)
    trained_until = np.full(len(log.lists), -1, np.int64)
    metrics: dict[str, dict[str, float]] = {}
    ends = [int(share * len(log.lists)) for share in (*config.slices, 1.0)]
    for number, (end, following) in enumerate(zip(ends, [*ends[1:], None], strict=True), start=1):
        known = np.arange(_whole_moments(log.lists.ts, end))
        name = f"text-{number}"
        # From the backbone each time: learning on would pass over the oldest lists many times more than the newest.
        predictor = build_predictor(tokens, config, float(log.clicked.mean()))
        judged = number == 1 or following is not None
        metrics[name] = _train_slice(predictor, lists, known, config, work / name, tell, judged=judged)
        if following is not None:
            ahead = np.arange(len(known), _whole_moments(log.lists.ts, following))
            values[lists.rows(ahead)] = on_grid(score_lists(predictor, lists, ahead), TEXT_GRID)
            of_outages = np.flatnonzero(np.isin(outages.numbers, ahead))
            in_outages = score_lists(predictor, outage_lists, of_outages)
            outage_values[outage_lists.rows(of_outages)] = on_grid(in_outages, TEXT_GRID)
            trained_until[ahead] = log.lists.ts[known[-1]] if len(known) else -1
    return TrainedText(
        predictor=predictor,
        tokenizer_json=tokenizer.to_str().encode(),
        tokens=tokens,
        scores=TextScores(values=values, trained_until=trained_until),
        outage_scores=outage_values,
        lists=lists,
        metrics={name: figures for name, figures in metrics.items() if figures},
    )


def build_predictor(tokens: Tokens, config: TrainConfig, click_rate: float) -> ClickPredictor:
    """Build the untrained predictor over some texts, starting at the backbone's cosines and the log's click rate."""
    tune = config.finetune
    backbone = load_backbone(config.text.backbone, dropout=tune.dropout)
    if tune.lora_rank:
        backbone = with_lora(backbone, tune.lora_rank)
    model = ClickModelConfig(
        dimensions=config.text.dimensions, history_length=config.text.history_length, dropout=tune.dropout
    )
    head = ClickHead(model)
    prepare_head(head, click_rate)
    frozen = 0 if tune.lora_rank else tune.frozen_layers
    predictor = ClickPredictor(ItemEncoder(backbone, model), head, tokens, frozen_layers=frozen, bce=tune.bce)
    if torch.cuda.is_available():
        predictor.to("cuda")
    with predictor.precision(bf16=tune.bf16):
        predictor.start_from_backbone()
    return predictor


def _train_slice(
    predictor: ClickPredictor,
    lists: TextLists,
    known: Rows,
    config: TrainConfig,
    work: Path,
    tell: Tell,
    *,
    judged: bool,
) -> dict[str, float]:
    """Train on some lists, or take up what an earlier run left in ``work``."""
    weights, figures = work / "model.safetensors", work / "figures.safetensors"
    if weights.is_file() and figures.is_file():
        predictor.load_state_dict(load_tensors(weights))
        return {name: float(value) for name, value in load_file(figures).items()}
    tune = config.finetune.model_copy(update={"seed": config.seed})
    # The newest tenth judges, so that training can stop early; the model to be served learns from it too, if an
    # earlier one was judged.
    judges = max(1, len(known) // 10) if tune.patience and judged else 0
    training, validation = known[: len(known) - judges], known[len(known) - judges :]
    log = (lists, training, tune, work, tell)
    _train_head(predictor, *log, name="head", epochs=config.warm_epochs, rate=WARM_LR)
    metrics = finetune(
        predictor,
        lists,
        training=training,
        validation=validation,
        config=tune,
        output=work / "run",
        progress=lambda share, text: tell(work.name, share, text),
    )
    set_click_rate(predictor, lists, training)
    if config.settle_epochs and tune.batch == "items":
        _train_head(predictor, *log, name="settle", epochs=config.settle_epochs, rate=SETTLE_LR)
        metrics = report(predictor, lists, validation) if len(validation) else {}
    work.mkdir(parents=True, exist_ok=True)
    write_file(weights, save_tensors({name: part.contiguous() for name, part in predictor.state_dict().items()}))
    write_file(figures, save({name: np.array(value) for name, value in metrics.items()}))
    return metrics


def _train_head(
    predictor: ClickPredictor,
    lists: TextLists,
    training: Rows,
    tune: FinetuneConfig,
    work: Path,
    tell: Tell,
    *,
    name: str,
    epochs: int,
    rate: float,
) -> None:
    """Train projection and head alone, on every item of a list alike; the backbone's pooled outputs are kept.

    Before the encoder's turn, so that their noise does not spoil it (linear probing, then fine-tuning: Kumar et al.,
    ICLR 2022). After it, because a block of items teaches them that whatever was just encoded is clicked.
    """
    if not epochs:
        return
    alone = {"epochs": epochs, "patience": 0, "batch": "lists", "lists_per_step": HEAD_LISTS, "head_lr": rate}
    with predictor.probing(bf16=tune.bf16):
        finetune(
            predictor,
            lists,
            training=training,
            validation=training[:0],
            config=tune.model_copy(update=alone),
            output=work / name,
            progress=lambda share, text: tell(f"{work.name} ({name})", share, text),
        )


def with_queries(catalog: Catalog, lists: Lists) -> tuple[list[ItemText], npt.NDArray[np.int32]]:
    """Put the distinct queries behind the catalog's texts; return the texts and each list's query row, -1 without."""
    asked = sorted({query for query in lists.queries if query})
    row = {query: len(catalog) + place for place, query in enumerate(asked)}
    texts = [*catalog.texts(), *(ItemText(title=query) for query in asked)]
    return texts, np.array([row.get(query, -1) for query in lists.queries], np.int32)


def _whole_moments(ts: npt.NDArray[np.int64], end: int) -> int:
    """Move a border so that lists of one moment stay together."""
    return int(np.searchsorted(ts, ts[end - 1], side="right")) if 0 < end < len(ts) else end


def weights_fingerprint(predictor: ClickPredictor) -> str:
    """Hash the trained weights; names the text model in the manifest."""
    digest = hashlib.sha256()
    for name, part in sorted(predictor.named_parameters()):
        digest.update(name.encode())
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
