"""The grid that text outputs lie on, in training and in serving, so that they are the same wherever they come from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Kernels of different devices sum in different orders: fp32 logits then differ by 1e-5 at most, a hundredth of this,
# which is itself a hundredth of what moves a click probability by a quarter of a percent (docs/experiments.md).
TEXT_GRID = 2.0**-10


def on_grid(outputs: npt.NDArray[np.float32], grid: float) -> npt.NDArray[np.float32]:
    """Round text outputs to multiples of a power of two, NaN staying NaN; 0 leaves them as they are."""
    if not grid:
        return outputs
    rounded: npt.NDArray[np.float32] = np.multiply(outputs, np.float32(1.0 / grid))
    np.rint(rounded, out=rounded)
    np.multiply(rounded, np.float32(grid), out=rounded)
    return np.add(rounded, np.float32(0.0), out=rounded)  # no -0, which would be another number to a hash
