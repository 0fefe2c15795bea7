"""Grow one ranker on some columns: lambdarank and log-loss trees, stopped early on the newest lists, then blended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from recsys.lists import Lists
from recsys.metrics import list_metrics
from training.blend_trees import blend_trees
from training.ranker_config import RankerConfig

Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# More lists than these say no more about when to stop.
JUDGES = 5_000
# Where no list can judge, so many trees do no harm.
UNJUDGED_TREES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """A model as LightGBM text, how many trees each part has, and its scores where it had not learned; shape [R]."""

    text: str
    trees: dict[str, int]
    scores: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickLists:
    """Lists with their clicks [R] and weights [L]; ``newest`` marks those that judge; shape [L]."""

    lists: Lists
    clicked: Bools
    weight: npt.NDArray[np.floating]
    newest: Bools

    @property
    def ordered(self) -> Bools:
        """Mark the lists that say which item was preferred to which; shape [L]."""
        clicks = np.diff(np.concatenate([[0], np.cumsum(self.clicked)])[self.lists.offsets])
        found: Bools = (clicks > 0) & (clicks < self.lists.lengths)
        return found

    def rows(self, lists: Bools) -> Bools:
        """Mark the rows of some lists; shape [R]."""
        return lists[self.lists.list_of_row]

    def dataset(self, table: Table, names: tuple[str, ...], chosen: Bools, *, positions: bool = False) -> lgb.Dataset:
        """Hand the rows of some lists to LightGBM; ``positions`` lets it learn a bias per place."""
        rows = self.rows(chosen)
        places = np.arange(len(rows)) - self.lists.offsets[:-1][self.lists.list_of_row]
        return lgb.Dataset(
            table[rows],
            label=self.clicked[rows].astype(np.int32),
            group=self.lists.lengths[chosen],
            weight=self.weight[self.lists.list_of_row][rows],
            position=places[rows] if positions else None,
            feature_name=list(names),
        )


def grow(learned: Table, whole: Table, names: tuple[str, ...], data: ClickLists, config: RankerConfig) -> Forest:
    """Grow on ``learned`` (some of whose figures were taken away), judge on ``whole``; both [R, C], C ``names``."""
    shares = {"lambdarank": 1 - config.pointwise, "binary": config.pointwise}
    if config.position_bias:
        shares = {"lambdarank": 1.0}  # LightGBM takes a bias out of this objective alone
    texts, trees, parts = [], {}, []
    for objective, share in shares.items():
        if share:
            booster, trees[objective] = _grow_one(objective, learned, whole, names, data, config)
            scores = np.asarray(booster.predict(whole, raw_score=True, num_threads=1), np.float64)
            # The objectives speak in different units: what counts is how far each spreads the newest lists.
            scale = share / max(float(scores[data.rows(data.newest)].std()), 1e-6)
            parts.append(scale * scores)
            if config.refit:
                positions = config.position_bias
                everything = data.dataset(learned, names, _learnable(data, objective), positions=positions)
                booster = lgb.train(_parameters(objective, data, config), everything, trees[objective])
            texts.append((booster.model_to_string(num_iteration=trees[objective]), scale))
    return Forest(text=blend_trees(texts), trees=trees, scores=np.sum(parts, axis=0))


def _grow_one(
    objective: str, learned: Table, whole: Table, names: tuple[str, ...], data: ClickLists, config: RankerConfig
) -> tuple[lgb.Booster, int]:
    """Grow until the newest lists are ranked no better; return the trees and their best number."""
    judges = np.flatnonzero(data.newest & data.ordered)
    judges = judges[np.unique(np.linspace(0, len(judges) - 1, min(len(judges), JUDGES)).astype(np.int64))]
    older = data.dataset(learned, names, _learnable(data, objective) & ~data.newest, positions=config.position_bias)
    parameters = _parameters(objective, data, config)
    if not len(judges):
        trees = min(config.trees, UNJUDGED_TREES)
        return lgb.train(parameters, older, trees), trees
    chosen = np.isin(np.arange(len(data.lists)), judges)
    booster = lgb.train(
        parameters,
        older,
        config.trees,
        valid_sets=[data.dataset(whole, names, chosen)],
        feval=_quality,
        callbacks=[lgb.early_stopping(config.patience, verbose=False)],
    )
    return booster, int(booster.best_iteration or booster.current_iteration())


def _learnable(data: ClickLists, objective: str) -> Bools:
    """A list without both a click and a non-click orders nothing, but says how likely a click is."""
    return np.ones(len(data.lists), np.bool_) if objective == "binary" else data.ordered


def _quality(scores: Floats, data: lgb.Dataset) -> tuple[str, float, bool]:
    offsets = np.concatenate([[0], np.cumsum(np.asarray(data.get_group()))])
    means = list_metrics(scores, np.asarray(data.get_label()) > 0, offsets).means()
    return "auc and ndcg@10", (means["auc"] + means["ndcg@10"]) / 2, True


def _parameters(objective: str, data: ClickLists, config: RankerConfig) -> dict[str, Any]:
    rows = len(data.clicked)
    return {
        "objective": objective,
        # Pairs whose better item stands below this are not learned from: the whole list has to be inside.
        "lambdarank_truncation_level": int(data.lists.lengths.max()),
        "label_gain": [0, 1],
        "metric": "None",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": min(config.min_rows_in_leaf, max(rows // 200, 5)),
        "lambda_l2": config.l2,
        "feature_fraction": config.columns,
        "bagging_fraction": config.lists,
        "bagging_freq": 1,
        "bagging_by_query": True,
        "max_bin": config.bins,
        "seed": config.seed,
        "num_threads": config.threads or min(max(rows // 500_000, 1), os.cpu_count() or 1),
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
