"""Memory that the text model gathers vectors into: each thread's own, and used again from call to call."""

from __future__ import annotations

import threading
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Arrays(NamedTuple):
    """What the click head reads, for B lists; good until the thread asks for the next ones."""

    candidates: Floats  # [B, N, D]
    logits: Floats  # [B, N]
    history: Floats  # [B, H, D]


class Room(threading.local):
    """Grows to what the largest call of a thread needs. Fresh arrays of a megabyte cost more than filling them."""

    def __init__(self) -> None:
        self._flat = {name: np.zeros(0, np.float32) for name in Arrays._fields}

    def of(self, lists: int, candidates: int, length: int, width: int) -> Arrays:
        """Return arrays for ``lists`` of so many candidates, histories of ``length``, and vectors of ``width``."""
        return Arrays(
            self._shaped("candidates", lists, candidates, width),
            self._shaped("logits", lists, candidates),
            self._shaped("history", lists, length, width),
        )

    def _shaped(self, name: str, *shape: int) -> Floats:
        size = prod(shape)
        if self._flat[name].size < size:
            self._flat[name] = np.zeros(size, np.float32)
        return self._flat[name][:size].reshape(shape)
