"""The ranker learns from out-of-time scores alone, bears gaps, and is the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.errors import LeakError
from recsys.features import assemble, column_names
from recsys.lists import Lists
from recsys.metrics import list_metrics
from recsys.ranker import Ranker
from training.fit_ranker import FittedRanker, RankerConfig, TextScores, _with_gaps, check_out_of_time, fit_ranker
from training.outages import OutageRows, draw_outages

LISTS, LENGTH = 300, 8
NAMES = ("item_rate", "price", "item_views", "item_clicks")
COUNTERS = [0, 2, 3]
SMALL = RankerConfig(trees=40, patience=20, learning_rate=0.1, columns=1.0, min_rows_in_leaf=20)

RNG = np.random.default_rng(5)
ROWS = LISTS * LENGTH
RATE = RNG.normal(size=ROWS)
LOGITS = RNG.normal(size=(ROWS, 5))
# Far from 0, for which trees that have never met a gap would take it.
BEHAVIOUR = np.column_stack([RATE + 4, RNG.normal(size=ROWS), np.zeros((ROWS, 2))]).astype(np.float32)
TEXT = (LOGITS - 4).astype(np.float32)
CLICKED = RNG.random(ROWS) < 1 / (1 + np.exp(1.5 - 1.5 * RATE - 1.5 * LOGITS[:, 0]))
WEIGHT = np.ones(LISTS, np.float32)


NO_TEXT = TextScores(values=np.full((ROWS, 5), np.nan, np.float32), trained_until=np.full(LISTS, -1, np.int64))


def _lists() -> Lists:
    return Lists(
        user_ids=["ann"] * LISTS,
        ts=1_700_000_000_000_000 + np.arange(LISTS) * 1_000,
        item_rows=np.zeros(ROWS, np.int32),
        offsets=np.arange(LISTS + 1) * LENGTH,
        histories=[None] * LISTS,
        queries=[""] * LISTS,
        surfaces=[""] * LISTS,
    )


def _scores() -> TextScores:
    """Score the newer half by a model that learned from the older one."""
    values, trained_until = TEXT.copy(), np.full(LISTS, -1, np.int64)
    half = LISTS // 2
    values[: half * LENGTH] = np.nan
    trained_until[half:] = _lists().ts[half - 1]
    return TextScores(values=values, trained_until=trained_until)


def _fit(
    config: RankerConfig = SMALL, text: TextScores | None = None, outages: OutageRows | None = None
) -> FittedRanker:
    return fit_ranker(
        BEHAVIOUR, text or _scores(), _lists(), CLICKED, WEIGHT, config, behaviour_names=NAMES, outages=outages
    )


def _without_counters() -> OutageRows:
    """Take the counters from two of five lists."""
    numbers = np.flatnonzero(np.arange(LISTS) % 5 < 2)
    rows = _lists().rows_of(numbers)
    behaviour = BEHAVIOUR[rows]
    behaviour[:, COUNTERS] = np.nan
    return OutageRows(numbers=numbers, behaviour=behaviour, text=TEXT[rows])


@pytest.fixture(scope="module")
def fitted() -> FittedRanker:
    return _fit()


def test_text_and_behaviour_together_rank_better_than_behaviour_alone(fitted: FittedRanker) -> None:
    assert fitted.report["full"]["auc"] > fitted.report["behaviour_only"]["auc"] + 0.03 > 0.73


def test_the_two_models_have_the_columns_that_serving_gives_them(fitted: FittedRanker) -> None:
    assert Ranker.from_text(fitted.model_text.encode()).names == column_names(NAMES)
    assert Ranker.from_text(fitted.behaviour_model_text.encode()).names == NAMES


def test_the_calibration_says_how_often_items_are_clicked(fitted: FittedRanker) -> None:
    scores = Ranker.from_text(fitted.model_text.encode()).predict(assemble(TEXT, BEHAVIOUR, _lists().offsets, NAMES))

    assert fitted.calibration.probability(scores).mean() == pytest.approx(CLICKED.mean(), abs=0.05)
    assert fitted.report["calibration"]["log_loss"] < fitted.report["calibration"]["base_log_loss"]


def test_the_same_lists_give_the_same_model(fitted: FittedRanker) -> None:
    again = _fit()

    assert again.model_text == fitted.model_text
    assert again.calibration == fitted.calibration


def test_another_seed_gives_another_model(fitted: FittedRanker) -> None:
    assert _fit(SMALL.model_copy(update={"seed": 1})).model_text != fitted.model_text


@pytest.mark.parametrize(("after", "leaks"), [(0, True), (1, True), (-1, False)])
def test_scores_of_a_model_that_saw_the_list_are_refused(after: int, leaks: bool) -> None:
    text, lists = _scores(), _lists()
    text.trained_until[-7] = lists.ts[-7] + after

    if leaks:
        with pytest.raises(LeakError, match="1 lists carry text scores of a model that saw them"):
            _fit(text=text)
    else:
        check_out_of_time(text, lists)


def test_scores_that_do_not_say_what_their_model_saw_are_refused() -> None:
    text = _scores()
    text.trained_until[-3:] = -1

    with pytest.raises(LeakError, match="3 do not say"):
        check_out_of_time(text, _lists())


def test_the_scores_of_lists_with_outages_are_held_to_the_same() -> None:
    with pytest.raises(LeakError, match="60 do not say what their model saw"):
        _fit(outages=_without_counters())


def test_one_planted_score_in_a_list_without_any_is_found() -> None:
    text = _scores()
    text.values[5, 2] = 0.1
    text.trained_until[0] = _lists().ts[0]

    with pytest.raises(LeakError, match="1 lists"):
        check_out_of_time(text, _lists())


@pytest.mark.parametrize("gap", ["text", "counters"])
def test_a_ranker_that_practised_with_gaps_bears_them_better(gap: str) -> None:
    text, behaviour = TEXT.copy(), BEHAVIOUR.copy()
    if gap == "text":
        text[:] = np.nan
    else:
        behaviour[:, COUNTERS] = np.nan
    gappy = assemble(text, behaviour, _lists().offsets, NAMES)
    everywhere = TextScores(values=TEXT, trained_until=_lists().ts - 1)
    practice = {
        "text": {"config": SMALL.model_copy(update={"text_dropout": 0.4})},
        "counters": {"outages": _without_counters()},
    }
    auc = {}
    for name, given in (("never", {}), ("practised", practice[gap])):
        fitted = _fit(**{"config": SMALL.model_copy(update={"text_dropout": 0.0}), "text": everywhere, **given})
        scores = Ranker.from_text(fitted.model_text.encode()).predict(gappy)
        auc[name] = list_metrics(scores, CLICKED, _lists().offsets).means()["auc"]

    assert auc["practised"] > auc["never"] + 0.005


def test_lists_that_lose_everything_heard_keep_their_text_as_often_as_others() -> None:
    """Or the ranker would never practise what is left: the text alone."""
    lists, config = _lists(), SMALL.model_copy(update={"text_dropout": 0.3, "counter_dropout": 0.3})
    drawn = draw_outages(lists.ts, config)
    outages = OutageRows(
        numbers=drawn.numbers,
        behaviour=BEHAVIOUR[lists.rows_of(drawn.numbers)],
        text=TEXT[lists.rows_of(drawn.numbers)],
    )

    text, _ = _with_gaps(TEXT, BEHAVIOUR, lists, outages, config)
    lost = np.isnan(text[lists.offsets[:-1], 0])

    assert lost.mean() == pytest.approx(0.3, abs=0.06)
    assert lost[drawn.numbers].mean() == pytest.approx(0.3, abs=0.1)


def test_a_log_without_any_text_score_gives_a_ranker_too() -> None:
    fitted = _fit(text=NO_TEXT)

    assert fitted.report["full"]["auc"] > 0.7


def test_lists_of_clicks_only_or_none_order_nothing_but_count_as_clicks() -> None:
    clicked = CLICKED.copy()
    clicked[: 40 * LENGTH] = True
    clicked[40 * LENGTH : 80 * LENGTH] = False

    fitted = fit_ranker(BEHAVIOUR, _scores(), _lists(), clicked, WEIGHT, SMALL, behaviour_names=NAMES)

    assert fitted.report["lists"]["ordered"] <= LISTS - 80


def test_newest_lists_without_any_order_stop_nothing() -> None:
    clicked = CLICKED.copy()
    clicked[-60 * LENGTH :] = False

    fitted = fit_ranker(BEHAVIOUR, _scores(), _lists(), clicked, WEIGHT, SMALL, behaviour_names=NAMES)

    assert fitted.report["trees"]["full"] == {"lambdarank": 40, "binary": 40}


def test_a_bias_of_places_can_be_taken_out() -> None:
    """An old policy put dear items first, and first items are clicked for that alone: a price is worth nothing."""
    rng = np.random.default_rng(0)
    place = np.tile(np.arange(LENGTH), LISTS)
    price = -place / 3 + 0.5 * rng.normal(size=ROWS)
    behaviour = np.column_stack([BEHAVIOUR[:, 0], price, BEHAVIOUR[:, 2:]]).astype(np.float32)
    clicked = rng.random(ROWS) < 1 / (1 + np.exp(2 - RATE - 2.5 * (place == 0) - 1.2 * (place == 1)))
    worth = {}
    for taken_out in (False, True):
        config = SMALL.model_copy(update={"position_bias": taken_out, "pointwise": 0.0})
        fitted = fit_ranker(behaviour, NO_TEXT, _lists(), clicked, WEIGHT, config, behaviour_names=NAMES)
        scores = Ranker.from_text(fitted.behaviour_model_text.encode()).predict(behaviour)
        rate_slope, price_slope, _ = np.linalg.lstsq(np.column_stack([behaviour[:, :2], np.ones(ROWS)]), scores)[0]
        worth[taken_out] = price_slope / rate_slope

    assert worth[True] < 0.8 * worth[False]


def test_lists_may_come_in_any_order(fitted: FittedRanker) -> None:
    lists, text = _lists(), _scores()
    order = np.random.default_rng(1).permutation(LISTS)
    rows = (order[:, None] * LENGTH + np.arange(LENGTH)).ravel()

    shuffled = fit_ranker(
        BEHAVIOUR[rows],
        TextScores(values=text.values[rows], trained_until=text.trained_until[order]),
        replace(lists, ts=lists.ts[order]),
        CLICKED[rows],
        WEIGHT,
        SMALL,
        behaviour_names=NAMES,
    )

    assert shuffled.report["lists"] == fitted.report["lists"]
    assert shuffled.report["full"]["auc"] == pytest.approx(fitted.report["full"]["auc"], abs=0.03)
