"""A ranker that has practised outages bears them; one that has not falls below the texts that it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from recsys.catalog import Catalog
from recsys.dataset import Dataset, read_dataset
from recsys.features import Context, FeatureSet, FeatureState, assemble, features_and_histories
from recsys.lists import Lists
from recsys.ranker import Ranker
from recsys.schema import Rung
from training.evaluate import evaluate
from training.evaluation import Evaluation
from training.fit_ranker import TextScores, fit_ranker
from training.outages import OutageRows, draw_outages
from training.ranker_config import RankerConfig
from training.simulate import simulate
from training.simulator.config import SimulationConfig
from training.split import test_lists as newest_lists

HOUR = 3_600_000_000
MANY = np.arange(10_000, dtype=np.int64) * HOUR + 1_700_000_000_000_000
NEVER = RankerConfig(counter_dropout=0.0, stale_share=0.0)
PRACTISED = RankerConfig(
    trees=120, patience=30, learning_rate=0.1, min_rows_in_leaf=40, counter_dropout=0.2, stale_share=0.1
)


def test_the_shares_of_the_configuration_are_drawn() -> None:
    found = draw_outages(MANY, RankerConfig(counter_dropout=0.2, stale_share=0.3))

    assert np.mean(found.known_until == 0) * len(found.numbers) == pytest.approx(2_000, abs=150)
    assert len(found.numbers) == pytest.approx(5_000, abs=200)
    assert np.unique(found.numbers).tolist() == found.numbers.tolist()


def test_nothing_was_heard_for_an_hour_to_three_days_each_order_of_magnitude_alike() -> None:
    found = draw_outages(MANY, RankerConfig(counter_dropout=0.0, stale_share=0.9))
    hours = (MANY[found.numbers] - found.known_until) / HOUR

    assert 1.0 <= hours.min() < 1.1
    assert 66.0 < hours.max() <= 72.0
    assert np.median(hours) == pytest.approx(72**0.5, rel=0.1)


def test_the_same_seed_draws_the_same_lists_and_another_seed_others() -> None:
    first, again, other = (draw_outages(MANY, RankerConfig(seed=seed)).numbers.tolist() for seed in (0, 0, 1))

    assert first == again != other


def test_without_shares_nothing_is_drawn() -> None:
    assert draw_outages(MANY, NEVER).numbers.tolist() == []


class Shop:
    """A simulated shop whose counters tell how good items are, and whose texts tell whom they please."""

    def __init__(self, folder: Path) -> None:
        simulate(
            SimulationConfig(
                items=100, users=120, lists=2_400, list_length=10, days=10, new_items=0.0, new_users=0.0,
                base_logit=-4.0, quality_weight=3.0, freshness_weight=0.0, drift_weight=0.0,
            ),
            folder,
        )  # fmt: skip
        self.dataset: Dataset = read_dataset(folder)
        self.catalog = Catalog(self.dataset.items)
        self.names = FeatureSet(self.catalog).names
        self.lists = Lists.from_impressions(self.dataset.impressions, self.catalog)
        self.number = {moment: number for number, moment in enumerate(self.lists.ts.tolist())}
        attraction = pl.read_parquet(folder / "truth.parquet")["attraction"].explode(empty_as_null=False).to_numpy()
        logit, rows = np.log(attraction / (1 - attraction)), self.lists.item_rows
        personal = logit - (np.bincount(rows, logit) / np.maximum(np.bincount(rows), 1))[rows]
        read = personal - 2.0 + np.random.default_rng(0).normal(0.0, 0.5, len(logit))
        self.text = np.repeat(read[:, None], 5, axis=1).astype(np.float32)

    def fit(self, config: RankerConfig) -> Ranker:
        """Fit a ranker to the training lists."""
        train = newest_lists(self.dataset.impressions)[0]
        lists = self.lists.take(np.arange(len(train)))
        text = self.text[: lists.offsets[-1]]
        outages = draw_outages(lists.ts, config)
        fitted = fit_ranker(
            self.features(train, lists, lists.ts),
            TextScores(values=text, trained_until=lists.ts - 1),
            lists,
            train["clicked"].explode(empty_as_null=False).to_numpy(),
            np.ones(len(lists), np.float32),
            config,
            behaviour_names=self.names,
            outages=OutageRows(
                numbers=outages.numbers,
                behaviour=self.features(train, lists.take(outages.numbers), outages.known_until),
                text=text[lists.rows_of(outages.numbers)],
            ),
        )
        return Ranker.from_text(fitted.model_text.encode())

    def features(self, log: pl.DataFrame, lists: Lists, known_until: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        state = FeatureState(self.catalog)
        return features_and_histories(state, log, None, lists, 16, skips=False, known_until=known_until)[0]


class Stack:
    """What is evaluated: a ranker on the shop's texts and the features of the moment."""

    bundle_id = "b-1"

    def __init__(self, shop: Shop, ranker: Ranker) -> None:
        self.catalog = shop.catalog
        self._shop, self._ranker, self._features = shop, ranker, FeatureSet(shop.catalog)

    def score_lists(self, seen: Context) -> Mapping[str, npt.NDArray[np.float64]]:
        lists, shop = seen.lists, self._shop
        text = shop.text[shop.lists.rows_of(np.array([shop.number[moment] for moment in lists.ts.tolist()]))]
        table = assemble(text, self._features.table(seen), lists.offsets, shop.names)
        nothing = np.zeros(len(text))
        return {
            "full": self._ranker.predict(table),
            "text_only": text[:, 0].astype(np.float64),
            "behaviour_only": nothing,
            "probability": nothing,
        }

    def score_rungs(self, seen: Context) -> Mapping[Rung, npt.NDArray[np.float64]]:
        return dict.fromkeys(Rung, np.zeros(len(seen.rows)))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    """Evaluate a ranker that has practised outages, and the control that has not."""
    shop = Shop(tmp_path_factory.mktemp("shop") / "dataset")
    configs = {
        "practised": PRACTISED,
        "control": PRACTISED.model_copy(update={"counter_dropout": 0.0, "stale_share": 0.0}),
    }
    return {name: evaluate(Stack(shop, shop.fit(config)), shop.dataset, draws=100) for name, config in configs.items()}


def gone(evaluation: Evaluation) -> float:
    """Return the full stack's AUC without counters."""
    return evaluation.stale["gone"].methods["full"]["auc"].value


def test_a_ranker_that_has_practised_outages_bears_the_loss_of_all_counters(found: dict[str, Evaluation]) -> None:
    assert found["practised"].stale_passed
    assert gone(found["practised"]) > gone(found["control"]) + 0.03


def test_practice_costs_next_to_nothing_while_counters_are_fresh(found: dict[str, Evaluation]) -> None:
    auc = {name: evaluation.methods["full"]["auc"].value for name, evaluation in found.items()}

    assert auc["control"] > found["control"].methods["text_only"]["auc"].value + 0.1
    assert auc["practised"] > auc["control"] - 0.01


def test_text_alone_does_not_care_for_counters(found: dict[str, Evaluation]) -> None:
    whole = found["practised"].methods["text_only"]["auc"].value

    for part in found["practised"].stale.values():
        assert part.methods["text_only"]["auc"].value == whole
