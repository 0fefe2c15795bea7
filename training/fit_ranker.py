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
from training.outages import OutageRows
from training.ranker_config import RankerConfig

__all__ = ["FittedRanker", "RankerConfig", "TextScores", "check_out_of_time", "fit_ranker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScores:
    """Text outputs [R, 5], NaN without; and per list the newest time that the scoring model knew, -1 without [L]."""

    values: Table
    trained_until: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRanker:
    """Both rankers as LightGBM text, their calibrations, and what was measured on the newest lists."""

    model_text: str
    behaviour_model_text: str
    calibration: Calibration
    behaviour_calibration: Calibration
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
    outages: OutageRows | None = None,
) -> FittedRanker:
    """Fit the full ranker and one without text.

    The newest lists judge, as they were: they stop the trees, and calibrate scores that did not learn from them. The
    trees learn from lists of which some have lost their text, and others what was heard before them (``outages``), so
    that they know what to do without.

    Args:
        behaviour: behavioural features [R, F], each list's of its own moment.
        text: scores of models that did not see the lists that they score.
        lists: the lists, in any order.
        clicked: what was clicked [R].
        weight: weight of each list [L].
        config: how the trees are grown.
        behaviour_names: names of the features [F].
        outages: some of the lists once more, as a server sees them whose event stream has stopped.

    Raises:
        LeakError: a list was scored by a model that knew it.
    """
    check_out_of_time(text, lists)
    if outages is not None:
        trained_until = text.trained_until[outages.numbers]
        check_out_of_time(TextScores(values=outages.text, trained_until=trained_until), lists.take(outages.numbers))
    data = ClickLists(lists=lists, clicked=clicked, weight=weight, newest=_newest(lists, config.validation))
    whole = assemble(text.values, behaviour, lists.offsets, behaviour_names)
    learned = assemble(*_with_gaps(text.values, behaviour, lists, outages, config), lists.offsets, behaviour_names)
    names = column_names(behaviour_names)
    full = grow(learned, whole, names, data, config)
    bare = slice(len(TEXT_COLUMNS), None)
    alone = grow(learned[:, bare], whole[:, bare], names[bare], data, config)
    judged = data.rows(data.newest)
    weights = weight[lists.list_of_row][judged]
    return FittedRanker(
        model_text=full.text,
        behaviour_model_text=alone.text,
        calibration=fit_calibration(full.scores[judged], clicked[judged], weights),
        behaviour_calibration=fit_calibration(alone.scores[judged], clicked[judged], weights),
        report={
            "lists": {"all": len(lists), "ordered": int(data.ordered.sum()), "judging": int(data.newest.sum())},
            "trees": {"full": full.trees, "behaviour_only": alone.trees},
            "full": _measured(full.scores, data),
            "behaviour_only": _measured(alone.scores, data),
            "calibration": _reliability(full.scores, data),
            "behaviour_calibration": _reliability(alone.scores, data),
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


def _with_gaps(
    text: Table, behaviour: Table, lists: Lists, outages: OutageRows | None, config: RankerConfig
) -> tuple[Table, Table]:
    """Put the lists with outages in their places, and take the text away from some lists; a list may lose both."""
    text, behaviour = text.copy(), behaviour.copy()
    if outages is not None:
        rows = lists.rows_of(outages.numbers)
        text[rows], behaviour[rows] = outages.text, outages.behaviour
    # A stream of its own: the draw of the outages would take the text from the very lists that have nothing else.
    lost = np.random.default_rng([config.seed, 1]).random(len(lists)) < config.text_dropout
    text[lost[lists.list_of_row]] = np.nan
    return text, behaviour


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
