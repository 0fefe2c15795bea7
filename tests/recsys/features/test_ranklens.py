"""On real lists the figures mean what they say: fame ranks well, taste adds to it, and time runs forwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.catalog import Catalog
from recsys.features import FeatureState, features_and_histories
from recsys.lists import Lists
from recsys.metrics import list_metrics
from training.importers.ranklens import import_ranklens

REAL = Path("../shared/data/ranklens")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.exists(), reason="RankLens is not beside the project"),
]


def test_single_figures_rank_the_test_lists_as_plain_methods_do(tmp_path: Path) -> None:
    dataset = import_ranklens(REAL, tmp_path / "dataset")
    catalog = Catalog(dataset.items)
    test = dataset.impressions.filter(pl.col("split") == "test")
    lists = Lists.from_impressions(test, catalog)
    clicked = test["clicked"].explode(empty_as_null=False).to_numpy()

    state = FeatureState(catalog)
    table, _ = features_and_histories(state, dataset.impressions, None, lists, 16, skips=False)

    def auc(name: str) -> float:
        return list_metrics(table[:, state.feature_set.names.index(name)], clicked, lists.offsets).means()["auc"]

    assert auc("item_rate") == pytest.approx(0.746, abs=0.003)  # the smoothed click rate of the protocol's table
    assert auc("item_corrected_rate") > 0.743
    assert auc("user_genres_excess") > 0.59
    assert auc("user_popularity_taste") > 0.59
    assert not np.isinf(table).any()
