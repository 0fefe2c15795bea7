"""Fit the ranker on out-of-time text scores and behavioural features, then its calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.calibration import Calibration
from recsys.errors import LeakError
from recsys.features import TEXT_COLUMNS, assemble, column_names
from recsys.lists import Lists
from recsys.metrics import click_report, list_metrics
from training.calibrate import fit_calibration
from training.grow_trees import Bools, ClickLists, Floats, Table, grow
from training.ranker_config import RankerConfig

__all__ = ["FittedRanker", "RankerConfig", "TextScores", "check_out_of_time", "fit_ranker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScores:
    """Text outputs [R, 5], NaN without; and per list the newest time that the scoring model knew, -1 without [L]."""

    values: Table
    trained_until: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRanker:
    """Both rankers as LightGBM text, the calibration of the full one, and what was measured on the newest lists."""

    model_text: str
    behaviour_model_text: str
    calibration: Calibration
    report: dict[str, Any]


def fit_ranker(
    behaviour: Table,
    text: TextScores,
    lists: Lists,
    clicked: Bools,
    weight: npt.NDArray[np.floating],
    config: RankerConfig,
    *,
    behaviour_names: tuple[str, ...],
    counters: Bools,
) -> FittedRanker:
    """Fit the full ranker and one without text.

    The newest lists judge: they stop the trees, and calibrate scores that did not learn from them. Text and counters
    are taken away from some of the others, so that the trees know what to do without.

    Args:
        behaviour: behavioural features [R, F], each list's of its own moment.
        text: scores of models that did not see the lists that they score.
        lists: the lists, in any order.
        clicked: what was clicked [R].
        weight: weight of each list [L].
        config: how the trees are grown.
        behaviour_names: names of the features [F].
        counters: which features rest on counted events [F].

    Raises:
        LeakError: a list was scored by a model that knew it.
    """
    check_out_of_time(text, lists)
    data = ClickLists(lists=lists, clicked=clicked, weight=weight, newest=_newest(lists, config.validation))
    whole = assemble(text.values, behaviour, lists.offsets)
    learned = _with_gaps(whole, lists, counters, config)
    names = column_names(behaviour_names)
    full = grow(learned, whole, names, data, config)
    bare = slice(len(TEXT_COLUMNS), None)
    alone = grow(learned[:, bare], whole[:, bare], names[bare], data, config)
    judged = data.rows(data.newest)
    calibration = fit_calibration(full.scores[judged], clicked[judged], weight[lists.list_of_row][judged])
    return FittedRanker(
        model_text=full.text,
        behaviour_model_text=alone.text,
        calibration=calibration,
        report={
            "lists": {"all": len(lists), "ordered": int(data.ordered.sum()), "judging": int(data.newest.sum())},
            "trees": {"full": full.trees, "behaviour_only": alone.trees},
            "full": _measured(full.scores, data),
            "behaviour_only": _measured(alone.scores, data),
            "calibration": _reliability(full.scores, data),
        },
    )


def check_out_of_time(text: TextScores, lists: Lists) -> None:
    """Refuse scores of a text model that saw the list, or anything of its moment or after it.

    Raises:
        LeakError: how many lists carry such scores.
    """
    scored = np.zeros(len(lists), np.bool_)
    scored[lists.list_of_row[~np.isnan(text.values).all(axis=1)]] = True
    unknown = int((scored & (text.trained_until < 0)).sum())
    leaking = int((scored & (text.trained_until >= lists.ts)).sum())
    if leaking or unknown:
        raise LeakError(
            f"{leaking} lists carry text scores of a model that saw them, {unknown} do not say what their model saw; "
            "score each list with a model that learned from strictly earlier lists alone, or leave its scores NaN"
        )


def _newest(lists: Lists, share: float) -> Bools:
    """Mark the newest lists; shape [L]."""
    newest = np.zeros(len(lists), np.bool_)
    newest[np.argsort(lists.ts, kind="stable")[len(lists) - max(1, round(share * len(lists))) :]] = True
    return newest


def _with_gaps(whole: Table, lists: Lists, counters: Bools, config: RankerConfig) -> Table:
    """Take the text away from some lists, and the counters from others; a list may lose both."""
    rng = np.random.default_rng(config.seed)
    is_text = np.arange(whole.shape[1]) < len(TEXT_COLUMNS)
    is_counter = np.concatenate([np.zeros(len(TEXT_COLUMNS), np.bool_), counters])
    learned = whole.copy()
    for columns, share in ((is_text, config.text_dropout), (is_counter, config.counter_dropout)):
        lost = rng.random(len(lists)) < share
        learned[np.ix_(lost[lists.list_of_row], columns)] = np.nan
    return learned


def _measured(scores: Floats, data: ClickLists) -> dict[str, float]:
    """Measure scores that did not learn from the newest lists on these."""
    rows = data.rows(data.newest)
    offsets = np.concatenate([[0], np.cumsum(data.lists.lengths[data.newest])])
    return list_metrics(scores[rows], data.clicked[rows], offsets).means()


def _reliability(scores: Floats, data: ClickLists) -> dict[str, float]:
    """Judge the probabilities of every second one of the newest lists by a calibration fitted to the others."""
    odd = data.newest & (np.cumsum(data.newest) % 2 == 1)
    fitting, held = data.rows(odd), data.rows(data.newest & ~odd)
    if not held.any():
        return {}
    fitted = fit_calibration(scores[fitting], data.clicked[fitting], data.weight[data.lists.list_of_row][fitting])
    report = click_report(fitted.probability(scores[held]), data.clicked[held])
    return {"log_loss": report.log_loss, "base_log_loss": report.base_log_loss, "ece": report.ece}
