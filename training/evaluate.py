"""Evaluate: a bundle's rankings against the baselines, on lists that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog
from recsys.dataset import Dataset
from recsys.errors import DatasetError, Fault
from recsys.features import Context, FeatureState, replay
from recsys.lists import Lists
from recsys.metrics import METRICS, ListMetrics, click_report, list_metrics
from training.baselines import chance, popularity, shown_order
from training.bootstrap import Figure, intervals
from training.evaluation import DatasetFacts, Evaluation, SliceFigures
from training.slices import SLICES, Slice, members
from training.split import TEST_SHARE, split_is_given, test_lists

Floats = npt.NDArray[np.float64]

# Method -> the differences worth an interval of their own: what each part of the stack adds.
PAIRS = (
    ("full", "behaviour_only"),
    ("full", "text_only"),
    ("full", "popularity"),
    ("text_only", "cross_encoder"),
)


class ScoresLists(Protocol):
    """What is evaluated: ``recsys.pipeline.RankingPipeline``, or anything that scores lists like it."""

    @property
    def catalog(self) -> Catalog:
        """The items that the bundle knows."""

    @property
    def bundle_id(self) -> str:
        """The bundle's name."""

    def score_lists(self, seen: Context) -> Mapping[str, Floats]:
        """Score all items, each array of shape [R]: full, text_only, behaviour_only, and probability of a click."""


def evaluate(
    pipeline: ScoresLists,
    dataset: Dataset,
    *,
    cross_encoder: Floats | None = None,
    seed: int = 0,
    draws: int = 1_000,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge a bundle on a dataset's test lists (``training.split``).

    Behaviour is taken from all impressions and events of the dataset: what a list may see is what happened strictly
    before it, as in serving. Items that the bundle does not know stay in the lists, scored as unknown.

    Args:
        pipeline: what to evaluate.
        dataset: items, impressions and events.
        cross_encoder: its scores of all items of the test lists, shape [R]; adds the method "cross_encoder".
        seed: of the random baseline and the bootstrap.
        draws: of users, for the intervals.
        progress: told (lists done, lists in all) now and then.

    Raises:
        DatasetError: no test list holds both a click and a non-click.
    """
    train, test = test_lists(dataset.impressions)
    _require_both_classes(test)
    clicked = test["clicked"].explode(empty_as_null=False).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(test["item_ids"].list.len().to_numpy())]).astype(np.int64)
    scores = _score(pipeline, dataset, Lists.from_impressions(test, pipeline.catalog), progress)
    probability = scores.pop("probability")
    scores |= {
        "popularity": popularity(dataset.impressions, test),
        "shown_order": shown_order(test),
        "random": chance(test, seed=seed),
    }
    if cross_encoder is not None:
        scores["cross_encoder"] = cross_encoder
    judged = {method: list_metrics(values, clicked, offsets) for method, values in scores.items()}
    kept = judged["random"].kept
    users = _user_numbers(test)[kept]
    methods, differences = _figures(judged, np.ones(len(kept), np.bool_), users, draws=draws, seed=seed)
    slices = {
        name: _slice(SLICES[name], judged, belongs[kept], users, draws=draws, seed=seed)
        for name, belongs in members(train, test).items()
    }
    return Evaluation(
        bundle_id=pipeline.bundle_id,
        lists=len(kept),
        users=len(np.unique(users)),
        methods=methods,
        differences=differences,
        slices=slices,
        calibration=click_report(probability, clicked),
        tie_rates={method: found.tie_rate for method, found in judged.items()},
        dataset=_facts(dataset.impressions, train, test, pipeline.catalog),
        draws=draws,
        seed=seed,
    )


def _score(
    pipeline: ScoresLists,
    dataset: Dataset,
    lists: Lists,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Floats]:
    scores: dict[str, Floats] = {}
    done = 0
    for answered in replay(FeatureState(pipeline.catalog), dataset.impressions, dataset.events, lists):
        if not answered.numbers.size:
            continue
        rows = lists.rows_of(answered.numbers)
        for method, values in pipeline.score_lists(answered.context).items():
            scores.setdefault(method, np.empty(lists.item_rows.size))[rows] = values
        done += answered.numbers.size
        if progress is not None:
            progress(done, len(lists))
    return scores


def _require_both_classes(test: pl.DataFrame) -> None:
    clicked = pl.col("clicked").list
    if test.filter(clicked.any() & ~clicked.all()).is_empty():
        problem = f"none of the {len(test)} test lists holds both a click and a non-click"
        remedy = "give lists with clicks, or mark some of them as test in the split column"
        raise DatasetError([Fault(file="impressions", column="clicked", row=0, problem=problem, remedy=remedy)])


def _user_numbers(test: pl.DataFrame) -> npt.NDArray[np.int64]:
    # Lists without a user id are not one user's: each counts as a user of its own.
    key = pl.when(pl.col("user_id") == "").then("\0" + pl.col("request_id")).otherwise("user_id")
    return test.select(user=key.rank("dense"))["user"].to_numpy().astype(np.int64)


def _figures(
    judged: Mapping[str, ListMetrics],
    belongs: npt.NDArray[np.bool_],
    users: npt.NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> tuple[dict[str, dict[str, Figure]], dict[str, dict[str, Figure]]]:
    """Average every method, and every pair's difference, over the lists that belong."""
    columns = {method: [found.values[name][belongs] for name in METRICS] for method, found in judged.items()}
    for better, worse in PAIRS:
        if better in judged and worse in judged:
            columns[f"{better} - {worse}"] = [a - b for a, b in zip(columns[better], columns[worse], strict=True)]
    values = np.stack([column for group in columns.values() for column in group], axis=1)
    found = iter(intervals(values, users[belongs], draws=draws, seed=seed))
    figures = {group: {name: next(found) for name in METRICS} for group in columns}
    return {m: figures[m] for m in figures if m in judged}, {d: figures[d] for d in figures if d not in judged}


def _slice(
    part: Slice,
    judged: Mapping[str, ListMetrics],
    belongs: npt.NDArray[np.bool_],
    users: npt.NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> SliceFigures:
    methods = _figures(judged, belongs, users, draws=draws, seed=seed)[0] if belongs.any() else {}
    return SliceFigures(
        title=part.title,
        says=part.says,
        lists=int(belongs.sum()),
        users=len(np.unique(users[belongs])),
        methods=methods,
    )


def _facts(impressions: pl.DataFrame, train: pl.DataFrame, test: pl.DataFrame, catalog: Catalog) -> DatasetFacts:
    shown = test["item_ids"].explode(empty_as_null=False).unique()
    newest = f"the newest {TEST_SHARE:.0%} of the lists"
    return DatasetFacts(
        split="given by the dataset" if split_is_given(impressions) else newest,
        training_lists=len(train),
        test_lists=len(test),
        items_shown=len(shown),
        unknown_items=int((catalog.rows(shown) < 0).sum()),
        click_rate=float(test["clicked"].explode(empty_as_null=False).to_numpy().mean()),
        first=test["ts"][0].isoformat(),
        last=test["ts"][-1].isoformat(),
    )
