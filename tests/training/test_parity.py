"""The gate lets equal encoders through and stops different ones."""

from __future__ import annotations

import numpy as np

from recsys.text.vectors import Vectors
from training.parity import ParitySample, may_ship, parity

RNG = np.random.default_rng(0)
UNIT = RNG.standard_normal((40, 8)).astype(np.float32)
UNIT /= np.linalg.norm(UNIT, axis=1, keepdims=True)
TRAINED = Vectors(vectors=UNIT, item_logits=np.zeros(40, np.float32))
LOGITS = RNG.standard_normal(200).astype(np.float32)
SAMPLE = ParitySample(
    logits=LOGITS, clicked=RNG.random(200) < 1 / (1 + np.exp(-2 * LOGITS)), offsets=np.arange(0, 201, 20)
)


def test_the_same_encoder_ships_in_any_precision() -> None:
    figures = parity(TRAINED, TRAINED, SAMPLE, LOGITS)

    assert figures["max_difference"] == 0.0
    assert figures["rank_agreement"] == 1.0
    assert all(may_ship(precision, figures) for precision in ("fp32", "fp16", "int8"))


def test_a_wrong_order_does_not_ship_in_any_precision() -> None:
    figures = parity(TRAINED, TRAINED, SAMPLE, -LOGITS)

    assert figures["rank_agreement"] < -0.99
    assert figures["auc_difference"] < -0.1
    assert not any(may_ship(precision, figures) for precision in ("fp32", "fp16", "int8"))


def test_quantization_may_cost_a_little_order_that_fp32_may_not() -> None:
    figures = parity(TRAINED, TRAINED, SAMPLE, LOGITS + RNG.normal(0, 0.02, 200).astype(np.float32))

    assert not may_ship("fp32", figures)
    assert may_ship("int8", figures)


def test_turned_vectors_show_in_the_smallest_cosine() -> None:
    turned = Vectors(vectors=np.roll(UNIT, 1, axis=0), item_logits=TRAINED.item_logits)

    assert parity(TRAINED, turned, SAMPLE, LOGITS)["min_cosine"] < 0.5
