"""Text outputs lie on a grid of a power of two, whatever kernel they come from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.grid import TEXT_GRID, on_grid


def test_outputs_are_rounded_to_whole_steps_and_what_is_missing_stays_so() -> None:
    outputs = np.array([[0.00049, 0.0006, -0.0001, 1.5, np.nan]], np.float32)

    rounded = on_grid(outputs, TEXT_GRID)

    np.testing.assert_array_equal(rounded, np.array([[1 / 1024, 1 / 1024, 0.0, 1.5, np.nan]], np.float32))
    assert not np.signbit(rounded[0, 2])


def test_without_a_grid_outputs_stay_as_they_are() -> None:
    outputs = np.array([[0.1, np.nan]], np.float32)

    assert on_grid(outputs, 0.0).tobytes() == outputs.tobytes()


@given(st.floats(-60, 60, width=32))
def test_rounding_again_changes_nothing_and_once_moves_by_half_a_step_at_most(value: float) -> None:
    outputs = np.array([[value]], np.float32)
    once = on_grid(outputs, TEXT_GRID)

    assert on_grid(once, TEXT_GRID).tobytes() == once.tobytes()
    assert abs(float(once[0, 0]) - value) <= TEXT_GRID / 2 + 4e-6  # a float32 near 60 has steps of 4e-6


def test_noise_of_another_kernel_is_gone_for_all_but_what_lies_between_two_steps() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    other = logits + rng.normal(0, 1e-6, logits.shape).astype(np.float32)

    assert np.mean(logits == other) < 0.5
    assert np.mean(on_grid(logits, TEXT_GRID) == on_grid(other, TEXT_GRID)) > 0.998
