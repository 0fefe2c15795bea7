"""Decides whether an exported item encoder may ship: on real texts and lists it must rank like the trained model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from recsys.metrics import list_metrics
from recsys.text.vectors import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityLimits:
    """What a variant may lose: mean rank correlation within lists at least, AUC at most."""

    rank_agreement: float
    auc_loss: float


# int8 loses a little by nature (reference: 0.2 to 0.9 points on BERT, ONNX Runtime's own tables); the others must not.
LIMITS = {
    "fp32": ParityLimits(rank_agreement=0.9999, auc_loss=0.0002),
    "fp16": ParityLimits(rank_agreement=0.999, auc_loss=0.0005),
    "int8": ParityLimits(rank_agreement=0.99, auc_loss=0.002),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParitySample:
    """Lists to judge on: the trained model's click logits [R], clicks [R], and where lists begin [L + 1]."""

    logits: npt.NDArray[np.float32]
    clicked: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]


def parity(
    reference: Vectors, variant: Vectors, sample: ParitySample, logits: npt.NDArray[np.float32]
) -> dict[str, float]:
    """Compare a variant's vectors and the click logits [R] that follow from them with the trained model's.

    Returns:
        ``max_difference`` and ``mean_difference`` of vector components, ``min_cosine`` of a text's two vectors,
        ``item_logit_difference`` (largest), ``rank_agreement`` (mean Spearman correlation within lists) and
        ``auc_difference`` (the variant's mean AUC less the trained model's).
    """
    difference = np.abs(reference.vectors - variant.vectors)
    trained = list_metrics(sample.logits, sample.clicked, sample.offsets).means()["auc"]
    shipped = list_metrics(logits, sample.clicked, sample.offsets).means()["auc"]
    return {
        "max_difference": float(difference.max(initial=0.0)),
        "mean_difference": float(difference.mean()),
        "min_cosine": float((reference.vectors * variant.vectors).sum(axis=1).min(initial=1.0)),
        "item_logit_difference": float(np.abs(reference.item_logits - variant.item_logits).max(initial=0.0)),
        "rank_agreement": _spearman(sample.logits, logits, sample.offsets),
        "auc_difference": 0.0 if np.isnan(trained) else shipped - trained,
    }


def may_ship(precision: str, figures: dict[str, float]) -> bool:
    """Judge a variant's figures by the limits of its precision."""
    limits = LIMITS[precision]
    return figures["rank_agreement"] >= limits.rank_agreement and figures["auc_difference"] >= -limits.auc_loss


def _spearman(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32], offsets: npt.NDArray[np.int64]) -> float:
    """Average the rank correlation over lists of at least two items; ties do not occur among real-valued logits."""
    found = []
    for start, stop in pairwise(offsets):
        count = stop - start
        if count >= 2:
            gap = _ranks(left[start:stop]) - _ranks(right[start:stop])
            found.append(1.0 - 6.0 * float(gap @ gap) / (count * (count * count - 1)))
    return float(np.mean(found)) if found else 1.0


def _ranks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
