"""A fitted calibration says how often scores like this one were clicked."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibrate import fit_calibration


def test_probabilities_are_the_click_rates_of_similar_scores() -> None:
    scores = np.repeat([-1.0, 0.0, 1.0], 100)
    clicked = np.concatenate([np.arange(100) < rate for rate in (5, 20, 60)])

    fitted = fit_calibration(scores, clicked, np.ones(300))

    assert fitted.probability([-1.0, 0.0, 1.0]).tolist() == pytest.approx([0.05, 0.2, 0.6])


def test_probabilities_never_fall() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=500)

    fitted = fit_calibration(scores, rng.random(500) < 0.3, np.ones(500))

    assert (np.diff(fitted.probability(np.sort(scores))) >= 0).all()


@pytest.mark.parametrize("clicked", [True, False])
def test_nothing_is_certain(clicked: bool) -> None:
    fitted = fit_calibration(np.arange(9.0), np.full(9, clicked), np.ones(9))

    assert 0 < fitted.probability([4.0])[0] < 1


def test_a_weighty_click_counts_more() -> None:
    scores, clicked = np.zeros(2), np.array([True, False])

    fitted = fit_calibration(scores, clicked, np.array([3.0, 1.0]))

    assert fitted.probability([0.0])[0] == pytest.approx(0.75)
