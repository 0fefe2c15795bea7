"""Evaluate: a bundle's rankings against the baselines, on lists that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog
from recsys.dataset import Dataset
from recsys.errors import DatasetError, Fault
from recsys.lists import Lists
from recsys.metrics import ListMetrics, click_report, list_metrics
from recsys.schema import Rung
from training.baselines import chance, popularity, shown_order
from training.evaluation import DatasetFacts, Evaluation, SliceFigures, StaleFigures
from training.log_scorer import LogScorer, ScoresLists
from training.paired_figures import paired_figures
from training.rung_figures import RungFigures, rung_figures
from training.slices import SLICES, Slice, members
from training.split import TEST_SHARE, split_is_given, test_lists
from training.staleness import CIRCUMSTANCES, METHODS, Circumstance

Floats = npt.NDArray[np.float64]


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
    before it, as in serving. Items that the bundle does not know stay in the lists, scored as unknown. The
    stale-counter test scores them again, as servers would that have heard nothing for a day, or ever.

    Args:
        pipeline: what to evaluate.
        dataset: items, impressions and events.
        cross_encoder: its scores of all items of the test lists, shape [R]; adds the method "cross_encoder".
        seed: of the random baseline and the bootstrap.
        draws: of users, for the intervals.
        progress: told (lists scored, lists to be scored) now and then; each once per circumstance, once on all rungs.

    Raises:
        DatasetError: no test list holds both a click and a non-click.
    """
    train, test = test_lists(dataset.impressions)
    _require_both_classes(test)
    clicked = test["clicked"].explode(empty_as_null=False).to_numpy()
    lists = Lists.from_impressions(test, pipeline.catalog)
    scorer = LogScorer(pipeline, dataset, lists, passes=2 + len(CIRCUMSTANCES), progress=progress)
    scores = scorer.scores(lists.ts)
    probability = scores.pop("probability")
    scores |= _baselines(dataset, test, seed) | ({} if cross_encoder is None else {"cross_encoder": cross_encoder})
    judged = {method: list_metrics(values, clicked, lists.offsets) for method, values in scores.items()}
    kept = judged["random"].kept
    users = _user_numbers(test)[kept]
    methods, differences = paired_figures(judged, users, draws=draws, seed=seed)
    stale = {
        name: _stale(given, scorer, clicked, users, draws=draws, seed=seed) for name, given in CIRCUMSTANCES.items()
    }
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
        stale=stale,
        rungs=_rungs(scorer, clicked, users, draws=draws, seed=seed),
        calibration=click_report(probability, clicked),
        tie_rates={method: found.tie_rate for method, found in judged.items()},
        dataset=_facts(dataset.impressions, train, test, pipeline.catalog),
        draws=draws,
        seed=seed,
    )


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


def _baselines(dataset: Dataset, test: pl.DataFrame, seed: int) -> dict[str, Floats]:
    return {
        "popularity": popularity(dataset.impressions, test),
        "shown_order": shown_order(test),
        "random": chance(test, seed=seed),
    }


def _stale(
    given: Circumstance,
    scorer: LogScorer,
    clicked: npt.NDArray[np.bool_],
    users: npt.NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> StaleFigures:
    scores = scorer.scores(given.known_until(scorer.lists.ts))
    judged = {method: list_metrics(scores[method], clicked, scorer.lists.offsets) for method in METHODS}
    methods, differences = paired_figures(judged, users, draws=draws, seed=seed)
    difference = differences[" - ".join(METHODS)]
    return StaleFigures(title=given.title, says=given.says, methods=methods, difference=difference)


def _rungs(
    scorer: LogScorer, clicked: npt.NDArray[np.bool_], users: npt.NDArray[np.int64], *, draws: int, seed: int
) -> dict[Rung, RungFigures]:
    scores = scorer.rungs(scorer.lists.ts)
    judged = {rung: list_metrics(values, clicked, scorer.lists.offsets) for rung, values in scores.items()}
    return rung_figures(judged, users, draws=draws, seed=seed)


def _slice(
    part: Slice,
    judged: Mapping[str, ListMetrics],
    belongs: npt.NDArray[np.bool_],
    users: npt.NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> SliceFigures:
    methods = paired_figures(judged, users, belongs, draws=draws, seed=seed)[0] if belongs.any() else {}
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
