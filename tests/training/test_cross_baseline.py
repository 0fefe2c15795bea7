"""A cross-encoder is trained once for a dataset's training lists, and scores all of its test lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.catalog import Catalog
from recsys.dataset import Dataset, read_dataset
from training.cross_baseline import score_test_lists
from training.cross_encoder import CrossEncoderConfig
from training.simulate import simulate
from training.simulator.config import SimulationConfig
from training.split import test_lists


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small shop."""
    folder = tmp_path_factory.mktemp("shop") / "dataset"
    simulate(SimulationConfig(items=40, users=20, lists=100, list_length=6, days=3), folder)
    return read_dataset(folder)


def test_it_is_trained_and_saved_the_first_time_and_loaded_the_second(
    dataset: Dataset, tiny_backbone: Path, tmp_path: Path
) -> None:
    stages: list[str] = []

    def score() -> Any:
        return score_test_lists(
            tmp_path / "cross",
            dataset,
            Catalog(dataset.items),
            lambda stage, *_: stages.append(stage),
            CrossEncoderConfig(backbone=str(tiny_backbone), bf16=False, epochs=1, history_tokens=16),
        )

    first = score()
    trained = list(stages)
    stages.clear()
    second = score()

    assert len(first) == test_lists(dataset.impressions)[1]["item_ids"].list.len().sum()
    assert np.isfinite(first).all()
    assert np.allclose(first, second)
    assert "cross-encoder" in trained
    assert "cross-encoder" not in stages
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cross"]
