"""The text model is trained forward in time: every list is scored by a model that stopped before it, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.catalog import Catalog
from recsys.dataset import read_dataset
from recsys.features import FeatureState, features_and_histories
from recsys.lists import Lists
from recsys.text.grid import TEXT_GRID, on_grid
from training.config import load_config
from training.finetune import score_lists
from training.simulate import simulate
from training.simulator.config import SimulationConfig
from training.text_training import HistoriesInOutages, TrainingLists, train_text

SMALL = (
    "slices=[0.4, 0.7]",
    "warm_epochs=1",
    "text.dimensions=16",
    "text.history_length=16",
    "text.tokens.description_tokens=8",
    "finetune.frozen_layers=1",
    "finetune.bf16=false",
    "finetune.patience=0",
    "finetune.epochs=2",
    "finetune.items_per_step=8",
    "finetune.lists_per_step=64",
    "finetune.encoder_lr=1e-3",
    "finetune.head_lr=5e-3",
)

OUTAGES = np.arange(0, 400, 3)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small shop's catalog, its state and its lists."""
    folder = tmp_path_factory.mktemp("shop") / "dataset"
    simulate(SimulationConfig(items=60, users=40, lists=400, list_length=8, days=6), folder)
    dataset = read_dataset(folder)
    catalog, impressions = Catalog(dataset.items), dataset.impressions
    log = TrainingLists(
        lists=Lists.from_impressions(impressions, catalog),
        clicked=impressions["clicked"].explode(empty_as_null=False).to_numpy().astype(np.bool_),
        weight=impressions["weight"].to_numpy().astype(np.float32),
    )
    _, histories = features_and_histories(FeatureState(catalog), impressions, None, log.lists, 16, skips=False)
    _, forgotten = features_and_histories(
        FeatureState(catalog),
        impressions,
        None,
        log.lists.take(OUTAGES),
        16,
        skips=False,
        known_until=np.zeros(len(OUTAGES), np.int64),
    )
    return catalog, histories, log, HistoriesInOutages(numbers=OUTAGES, histories=forgotten)


@pytest.fixture
def train(shop: Any, tiny_backbone: Path, tmp_path: Path) -> Any:
    """Train on the shop with some settings; returns the trained text and the stages told of."""

    def run(*settings: str, work: str = "work") -> Any:
        stages: list[str] = []
        config = load_config(None, [*SMALL, f"text.backbone={tiny_backbone}", *settings])
        *log, outages = shop
        text = train_text(*log, config, tmp_path / work, lambda stage, *_: stages.append(stage), outages=outages)
        return text, list(dict.fromkeys(stages))

    return run


def foreseen(text: Any) -> float:
    """Average the click probabilities of the log's items."""
    logits = score_lists(text.predictor, text.lists, np.arange(len(text.lists)))[:, 0].astype(np.float64)
    return float((1 / (1 + np.exp(-logits))).mean())


def test_each_list_is_scored_by_a_model_that_stopped_before_it_or_not_at_all(shop: Any, train: Any) -> None:
    lists = shop[2].lists
    scores = train()[0].scores
    scored = ~np.isnan(scores.values[:, 0]).reshape(len(lists), -1).all(axis=1)

    assert scored.tolist() == [place >= 160 for place in range(400)]
    assert (scores.trained_until[scored] < lists.ts[scored]).all()
    assert np.unique(scores.trained_until).tolist() == [-1, lists.ts[159], lists.ts[279]]


def test_lists_with_outages_are_scored_by_the_same_models_without_their_histories(train: Any) -> None:
    text = train()[0]
    whole = text.scores.values[text.lists.rows(OUTAGES)]
    match, similarity = text.outage_scores[:, 2], text.outage_scores[:, 3]
    scored = ~np.isnan(match)

    assert np.array_equal(scored, ~np.isnan(whole[:, 0]))
    assert np.array_equal(text.outage_scores[:, 1], whole[:, 1], equal_nan=True)
    assert (similarity[scored] == 0).all()
    assert (whole[scored, 3] != 0).any()


def test_the_scores_that_the_ranker_learns_from_lie_on_the_grid(train: Any) -> None:
    text = train()[0]

    for scores in (text.scores.values, text.outage_scores):
        assert np.array_equal(scores, on_grid(scores, TEXT_GRID), equal_nan=True)
        assert (~np.isnan(scores)).any()


def test_the_head_is_trained_before_and_after_the_encoder(train: Any) -> None:
    stages = train("slices=[]")[1]

    assert stages == ["text-1 (head)", "text-1", "text-1 (settle)"]


def test_as_many_clicks_are_foreseen_as_there_were_whatever_lists_were_drawn(train: Any) -> None:
    text = train("slices=[]", "finetune.clicked_share=1.0", "finetune.bce=0.0")[0]

    assert foreseen(text) == pytest.approx(text.lists.clicked.mean(), abs=0.02)


def test_without_the_level_set_such_a_training_foresees_far_too_many(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.text_training.set_click_rate", lambda *_: None)
    text = train("slices=[]", "finetune.clicked_share=1.0", "finetune.bce=0.0")[0]

    assert foreseen(text) > text.lists.clicked.mean() + 0.2


def test_finished_slices_are_read_back_and_give_the_same_scores(train: Any) -> None:
    first, _ = train()
    again, stages = train()

    assert stages == []
    assert np.array_equal(first.scores.values, again.scores.values, equal_nan=True)
    assert again.metrics == first.metrics
