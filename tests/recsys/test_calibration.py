"""A calibration turns scores into probabilities that rise with them."""

from __future__ import annotations

import pytest

from recsys.calibration import Calibration
from recsys.errors import BundleError

RISING = Calibration(scores=(-1.0, 0.0, 2.0), probabilities=(0.1, 0.2, 0.6))


def test_probabilities_lie_on_the_line_between_knots() -> None:
    assert RISING.probability([-1.0, -0.5, 1.0]).tolist() == pytest.approx([0.1, 0.15, 0.4])


def test_beyond_the_outer_knots_nothing_changes() -> None:
    assert RISING.probability([-99.0, 99.0]).tolist() == [0.1, 0.6]


def test_a_calibration_survives_json() -> None:
    assert Calibration.from_json(RISING.to_json()) == RISING


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"scores": [1]}',
        b'{"scores": [], "probabilities": []}',
        b'{"scores": [1, 1], "probabilities": [0.1, 0.2]}',
        b'{"scores": [1, 2], "probabilities": [0.3, 0.2]}',
        b'{"scores": [1, 2], "probabilities": [0.3, 1.2]}',
        b'{"scores": [1, NaN], "probabilities": [0.3, 0.4]}',
        b'{"scores": [1, 2], "probabilities": ["a", "b"]}',
    ],
)
def test_what_is_no_calibration_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"calibration\.json"):
        Calibration.from_json(data)
