"""From a ranker's score, which only orders, to a click probability: a monotone line through knots."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from recsys.errors import BundleError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Knots of an isotonic regression (Zadrozny and Elkan, KDD 2002): scores ascend, probabilities never fall."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = np.array(self.scores), np.array(self.probabilities)
        if not len(x) or len(x) != len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError("a calibration needs as many finite probabilities as scores, and at least one")
        if (np.diff(x) <= 0).any() or (np.diff(y) < 0).any() or y[0] < 0 or y[-1] > 1:
            raise ValueError("scores must ascend, probabilities must not fall and lie between 0 and 1")

    def probability(self, scores: npt.NDArray[np.floating]) -> Floats:
        """Return the click probability of each score [n]; beyond the outer knots it stays as it is there."""
        return np.asarray(np.interp(scores, self.scores, self.probabilities), np.float64)

    def to_json(self) -> bytes:
        """Serialise for one of a bundle's files ``*calibration.json``."""
        return (json.dumps({"scores": self.scores, "probabilities": self.probabilities}) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, file: str = "calibration.json") -> Self:
        """Read what ``to_json`` wrote to a bundle's ``file``.

        Raises:
            BundleError: it is something else.
        """
        try:
            fields = json.loads(data)
            return cls(scores=tuple(fields["scores"]), probabilities=tuple(fields["probabilities"]))
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError(f"{file} cannot be read; train and publish the bundle again") from error
