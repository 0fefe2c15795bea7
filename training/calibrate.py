"""Learn which click probability each score means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from recsys.calibration import Calibration

# Scores closer than this count as one knot.
NEAR = 1e-9


def fit_calibration(
    scores: npt.NDArray[np.float64], clicked: npt.NDArray[np.bool_], weight: npt.NDArray[np.floating]
) -> Calibration:
    """Fit a monotone map (Zadrozny and Elkan, KDD 2002) to scores [n] that the model had not learned from.

    Nothing is certain: probabilities stay half a click away from 0 and 1.
    """
    margin = 0.5 / (len(scores) + 1)
    fitted = IsotonicRegression(y_min=margin, y_max=1 - margin, out_of_bounds="clip")
    fitted.fit(scores, clicked.astype(np.float64), sample_weight=weight)
    knots = np.concatenate([[True], np.diff(fitted.X_thresholds_) > NEAR])
    # float32 labels inside sklearn may break the order in the last digit.
    probabilities = np.maximum.accumulate(np.clip(fitted.y_thresholds_[knots], 0.0, 1.0))
    return Calibration(
        scores=tuple(fitted.X_thresholds_[knots].astype(float).tolist()),
        probabilities=tuple(probabilities.astype(float).tolist()),
    )
