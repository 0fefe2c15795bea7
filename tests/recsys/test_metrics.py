"""The metrics against sklearn, against MIND's own formulas written out, and against what must hold for any order."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, log_loss, roc_auc_score

from recsys.metrics import METRICS, Bools, Floats, Ints, click_report, list_metrics


def mind_metrics(clicked: Bools, scores: Floats) -> dict[str, float]:
    """MIND's evaluation as published: one list at a time, order by argsort of the scores."""
    order = np.argsort(scores)[::-1]
    y = np.take(clicked, order).astype(float)
    ranks = np.arange(len(y)) + 1

    def dcg(labels: Floats, k: int) -> float:
        labels = np.take(labels, np.arange(min(k, len(labels))))
        return float(np.sum((2**labels - 1) / np.log2(np.arange(len(labels)) + 2)))

    best = np.sort(y)[::-1]
    return {
        "auc": roc_auc_score(clicked, scores),
        "mrr": np.sum(y / ranks) / np.sum(y),
        "ndcg@5": dcg(y, 5) / dcg(best, 5),
        "ndcg@10": dcg(y, 10) / dcg(best, 10),
        "hit@1": y[0],
    }


def random_lists(seed: int, *, lists: int, distinct: bool) -> tuple[Floats, Bools, Ints]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 40, lists)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = offsets[-1]
    scores = rng.permutation(rows).astype(float) if distinct else rng.integers(0, 4, rows).astype(float)
    return scores, rng.random(rows) < 0.2, offsets


def test_random_lists_agree_with_sklearn_and_with_the_formulas_of_mind() -> None:
    scores, clicked, offsets = random_lists(1, lists=300, distinct=True)
    found = list_metrics(scores, clicked, offsets)

    for place, number in enumerate(found.kept):
        rows = slice(offsets[number], offsets[number + 1])
        expected = mind_metrics(clicked[rows], scores[rows])
        assert {name: values[place] for name, values in found.values.items()} == pytest.approx(expected, abs=1e-12)
    assert found.tie_rate == 0.0


def test_auc_with_ties_agrees_with_sklearn() -> None:
    scores, clicked, offsets = random_lists(2, lists=200, distinct=False)
    found = list_metrics(scores, clicked, offsets)
    expected = [
        roc_auc_score(clicked[a:b], scores[a:b])
        for a, b in itertools.pairwise(offsets)
        if 0 < clicked[a:b].sum() < b - a
    ]

    assert found.values["auc"] == pytest.approx(expected, abs=1e-12)
    assert found.tie_rate > 0.9


def test_ties_count_as_the_average_over_all_orders_of_the_tied_items() -> None:
    clicked = np.array([True, False, True, False, False])
    scores = np.array([2.0, 2.0, 1.0, 2.0, 1.0])
    # Every order in which the tied items may come, made by distinct scores that keep the untied order.
    broken = [
        mind_metrics(clicked, scores + np.array(nudge) / 10) for nudge in itertools.permutations(range(len(scores)))
    ]
    expected = {name: np.mean([one[name] for one in broken]) for name in METRICS}

    found = list_metrics(scores, clicked, [0, 5])

    assert found.means() == pytest.approx(expected, abs=1e-12)


def test_a_constant_scorer_gains_nothing_from_the_shown_order() -> None:
    first = list_metrics([0.0] * 4, [True, False, False, False], [0, 4])
    last = list_metrics([0.0] * 4, [False, False, False, True], [0, 4])

    assert first.means() == last.means()
    assert first.means()["auc"] == 0.5
    assert first.means()["hit@1"] == 0.25
    assert first.means()["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_nan_scores_rank_last_even_below_minus_infinity() -> None:
    found = list_metrics([np.nan, -np.inf, np.nan], [False, True, False], [0, 3])

    assert found.means() == {"auc": 1.0, "mrr": 1.0, "ndcg@5": 1.0, "ndcg@10": 1.0, "hit@1": 1.0}


def test_equal_scores_of_neighbouring_lists_are_no_ties() -> None:
    found = list_metrics([2.0, 1.0, 1.0, 0.0], [True, False, True, False], [0, 2, 4])

    assert found.values["auc"].tolist() == [1.0, 1.0]
    assert found.tie_rate == 0.0


def test_lists_without_both_classes_are_left_out_and_empty_lists_too() -> None:
    #         all clicked, none,   empty, kept
    clicked = [True, True, False, False, True]
    found = list_metrics([1.0, 2.0, 3.0, 4.0, 5.0], clicked, [0, 2, 3, 3, 5])

    assert found.kept.tolist() == [3]
    assert found.values["hit@1"].tolist() == [1.0]


def test_no_usable_list_gives_empty_arrays() -> None:
    found = list_metrics([1.0, 2.0], [False, False], [0, 2])

    assert found.kept.tolist() == []
    assert {len(values) for values in found.values.values()} == {0}
    assert np.isnan(found.means()["auc"])


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores and 2 clicks for lists of 3 items"):
        list_metrics([1.0, 2.0], [False, True], [0, 3])


@st.composite
def one_list(draw: st.DrawFn) -> tuple[Floats, Bools]:
    size = draw(st.integers(2, 12))
    clicked = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(lambda y: 0 < sum(y) < len(y)))
    scores = draw(st.lists(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, np.nan]), min_size=size, max_size=size))
    return np.array(scores), np.array(clicked)


@given(one_list(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_in_which_items_are_given_does_not_matter(example: tuple[Floats, Bools], random: Random) -> None:
    scores, clicked = example
    order = random.sample(range(len(scores)), len(scores))

    before = list_metrics(scores, clicked, [0, len(scores)]).means()
    after = list_metrics(scores[order], clicked[order], [0, len(scores)]).means()

    assert after == pytest.approx(before, abs=1e-12)


@given(one_list())
@settings(max_examples=60, deadline=None)
def test_a_rising_transform_of_the_scores_changes_nothing_and_figures_stay_between_0_and_1(
    example: tuple[Floats, Bools],
) -> None:
    scores, clicked = example
    offsets = [0, len(scores)]

    found = list_metrics(scores, clicked, offsets).means()

    assert list_metrics(np.exp(scores) * 3 + 1, clicked, offsets).means() == found
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in found.values())


@given(one_list())
@settings(max_examples=40, deadline=None)
def test_reversing_the_scores_mirrors_auc(example: tuple[Floats, Bools]) -> None:
    scores, clicked = np.nan_to_num(example[0]), example[1]
    offsets = [0, len(scores)]

    there = list_metrics(scores, clicked, offsets).means()["auc"]
    back = list_metrics(-scores, clicked, offsets).means()["auc"]

    assert there + back == pytest.approx(1.0)


def test_click_report_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(3)
    probability = rng.random(2_000)
    clicked = rng.random(2_000) < probability
    found = click_report(probability, clicked)
    expected = classification_report(clicked, probability >= 0.5, output_dict=True)

    for name, key in (("no_click", "False"), ("click", "True")):
        ours = found.classes[name]
        theirs = expected[key]
        assert [ours.precision, ours.recall, ours.f1, ours.support] == pytest.approx(
            [theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]]
        )
    assert found.log_loss == pytest.approx(log_loss(clicked, probability))
    assert found.base_rate == clicked.mean()
    assert found.base_log_loss > found.log_loss
    assert found.ece < 0.05
    assert len(found.bins) == 10


def test_calibration_error_is_the_distance_between_said_and_seen() -> None:
    #        said 0.2, seen 0.5 (4 items); said 0.6, seen 0.5 (2 items)
    found = click_report([0.2, 0.2, 0.2, 0.2, 0.6, 0.6], [1, 1, 0, 0, 1, 0])

    assert [(part.count, part.probability, part.click_rate) for part in found.bins] == [
        (4, pytest.approx(0.2), 0.5),
        (2, pytest.approx(0.6), 0.5),
    ]
    assert found.ece == pytest.approx((4 * 0.3 + 2 * 0.1) / 6)


def test_items_without_a_probability_are_counted_and_left_out() -> None:
    found = click_report([np.nan, 0.9, 0.1], [True, True, False])

    assert (found.count, found.missing, found.base_rate) == (2, 1, 0.5)


def test_a_class_never_predicted_has_precision_0_and_a_certain_error_a_finite_loss() -> None:
    found = click_report([0.0, 0.0], [True, False])

    assert found.classes["click"].precision == 0.0
    assert np.isfinite(found.log_loss)
    assert found.to_json()["classes"]["click"]["support"] == 1


def test_a_report_on_no_probability_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no item has a click probability"):
        click_report([np.nan], [True])
