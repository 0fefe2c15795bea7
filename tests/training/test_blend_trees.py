"""A blend of models is one model whose scores are their weighted sum."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from recsys.ranker import Ranker
from training.blend_trees import blend_trees

RNG = np.random.default_rng(3)
TABLE = RNG.normal(size=(400, 3)).astype(np.float32)
LABEL = (TABLE[:, 0] + 0.5 * TABLE[:, 1] > 0).astype(np.int32)


def _grown(objective: str, trees: int) -> str:
    parameters = {
        "objective": objective,
        "num_leaves": 5,
        "num_threads": 1,
        "verbosity": -1,
        "deterministic": True,
        "force_row_wise": True,
    }
    data = lgb.Dataset(TABLE, LABEL, group=[20] * 20, feature_name=["a", "b", "c"])
    text: str = lgb.train(parameters, data, trees).model_to_string()
    return text


def test_a_blend_scores_the_weighted_sum() -> None:
    models = [(_grown("lambdarank", 3), 0.25), (_grown("binary", 12), -1.5)]

    blended = Ranker.from_text(blend_trees(models).encode())

    parts = [weight * Ranker.from_text(text.encode()).predict(TABLE) for text, weight in models]
    assert np.allclose(blended.predict(TABLE), np.sum(parts, axis=0), atol=1e-8)


def test_a_blend_explains_itself() -> None:
    blended = Ranker.from_text(blend_trees([(_grown("lambdarank", 3), 2.0), (_grown("binary", 12), 0.5)]).encode())

    assert np.allclose(blended.contributions(TABLE).sum(axis=1), blended.predict(TABLE), atol=1e-6)


def test_a_blend_of_one_is_the_model_itself() -> None:
    text = _grown("lambdarank", 4)

    alone = Ranker.from_text(blend_trees([(text, 1.0)]).encode())

    assert alone.predict(TABLE).tolist() == pytest.approx(Ranker.from_text(text.encode()).predict(TABLE).tolist())
