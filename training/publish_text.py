"""From the trained text model to a bundle's files: graphs that passed the parity gate, and the catalog's vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recsys.bundle import TextVariant
from recsys.errors import BundleError
from recsys.text.encoder import ItemEncoder
from recsys.text.tokens import Tokens
from recsys.text.vectors import Vectors
from training.export import convert_fp16, export_encoder, export_head, quantize_int8
from training.finetune import score_lists
from training.parity import ParitySample, may_ship, parity
from training.text_lists import Rows
from training.text_training import Tell, TrainedText

# Enough for an AUC difference of 0.0002 to be no accident, few enough to take seconds.
SAMPLE_LISTS = 1_000
SAMPLE_TEXTS = 2_000

FILES = {"fp32": "item_encoder.onnx", "int8": "item_encoder.int8.onnx", "fp16": "item_encoder.fp16.onnx"}
CONVERSIONS: dict[str, Callable[[bytes], bytes]] = {"int8": quantize_int8, "fp16": convert_fp16}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedText:
    """The graphs that may ship, by file name; the catalog's vectors as fp32 gives them; the gate's figures."""

    files: dict[str, bytes]
    vectors: Vectors
    variants: dict[str, TextVariant]
    drift: dict[str, float]


def export_text(text: TrainedText, items: int, tell: Tell) -> ExportedText:
    """Export, judge each precision against the trained model in PyTorch fp32, and encode the catalog.

    Raises:
        BundleError: not even the fp32 graph agrees with the trained model.
    """
    predictor = text.predictor.to("cpu").float()
    drift = _drift(text, np.arange(max(0, len(text.lists) - SAMPLE_LISTS), len(text.lists)))
    chosen, rows = _sampled(text)
    predictor.refresh(rows)
    reference = Vectors(vectors=predictor.vectors[rows].numpy(), item_logits=predictor.item_logits[rows].numpy())
    sample = ParitySample(
        logits=score_lists(predictor, text.lists, chosen)[:, 0],
        clicked=text.lists.clicked[text.lists.rows(chosen)],
        offsets=np.concatenate([[0], np.cumsum(text.lists.lists.lengths[chosen])]),
    )
    texts = text.tokens.take(rows)
    head = export_head(predictor.head, predictor.head.config)
    fp32 = export_encoder(predictor.encoder)
    graphs = {"fp32": fp32, **{name: convert(fp32) for name, convert in CONVERSIONS.items()}}
    variants: dict[str, TextVariant] = {}
    for place, (name, graph) in enumerate(graphs.items()):
        tell("export", place / (len(graphs) + 1), f"is {name} the same?")
        variant = _encoded(graph, texts)
        predictor.remember(rows, variant.vectors, variant.item_logits)
        figures = parity(reference, variant, sample, score_lists(predictor, text.lists, chosen)[:, 0])
        variants[name] = TextVariant(file=FILES[name], shipped=may_ship(name, figures), figures=figures)
    if not variants["fp32"].shipped:
        raise BundleError(f"the exported encoder differs from the trained one: {variants['fp32'].figures}; report this")
    tell("export", len(graphs) / (len(graphs) + 1), "the catalog's vectors")
    catalog = _encoded(fp32, text.tokens.take(np.arange(items)))
    files = {FILES[name]: graph for name, graph in graphs.items() if variants[name].shipped}
    return ExportedText(files={**files, "click_head.onnx": head}, vectors=catalog, variants=variants, drift=drift)


def _encoded(graph: bytes, texts: Tokens) -> Vectors:
    vectors, item_logits = ItemEncoder(graph, cuda=False).encode(texts)
    return Vectors(vectors=vectors, item_logits=item_logits)


def _sampled(text: TrainedText) -> tuple[Rows, Rows]:
    """Choose the newest lists, as many as hold few enough texts; return them and the texts' rows."""
    lists = text.lists
    count = SAMPLE_LISTS
    while True:
        chosen = np.arange(max(0, len(lists) - count), len(lists))
        rows = np.union1d(lists.items[lists.rows(chosen)], lists.history[chosen])
        if len(rows) <= SAMPLE_TEXTS or count == 1:
            return chosen, rows[rows < lists.pad]
        count //= 2


def _drift(text: TrainedText, chosen: Rows) -> dict[str, float]:
    """Compare the served model's click logits with the out-of-time ones that the ranker learned from, same lists."""
    inside = np.isin(text.lists.lists.list_of_row, chosen)
    before, now = text.scores.values[inside, 0], score_lists(text.predictor, text.lists, chosen)[:, 0]
    both = ~np.isnan(before) & ~np.isnan(now)
    if not both.any():
        return {}
    return {
        "out_of_time_mean": float(before[both].mean()),
        "out_of_time_std": float(before[both].std()),
        "served_mean": float(now[both].mean()),
        "served_std": float(now[both].std()),
    }
