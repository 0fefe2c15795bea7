"""Vectors of a catalog that grows while it is read."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from recsys.text.vectors import Vectors


class LiveVectors:
    """The vectors of the rows of a catalog, for any number of readers and writers at once.

    ``now`` is what a reader takes, once for all that it looks up: its length does not change, and a row that it calls
    read is whole, because a vector is written before it is called so. Where all have been read it does not say each.
    """

    def __init__(self, vectors: Vectors) -> None:
        read = np.ones(len(vectors), np.bool_)
        self.now = vectors
        self._room = Vectors(vectors=vectors.vectors, item_logits=vectors.item_logits, read=read)
        self._writing = threading.Lock()

    def grow(self, length: int) -> None:
        """Make room for rows up to ``length``; the new ones have not been read."""
        with self._writing:
            if length > len(self._room):
                self._room = _copied(self._room, max(length, 2 * len(self._room)))
            self.now = _head(self._room, length)

    def put(self, rows: npt.NDArray[np.integer], found: Vectors) -> None:
        """Write the vectors of some rows [n]: from now on they have been read."""
        with self._writing:
            self._room.vectors[rows], self._room.item_logits[rows] = found.vectors, found.item_logits
            _flags(self._room)[rows] = True
            self.now = _head(self._room, len(self.now))

    def has_read(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Tell which rows [n] have been read."""
        read: npt.NDArray[np.bool_] = _flags(self._room)[rows]
        return read


def _flags(vectors: Vectors) -> npt.NDArray[np.bool_]:
    assert vectors.read is not None  # noqa: S101  # the room's always say
    return vectors.read


def _head(vectors: Vectors, length: int) -> Vectors:
    read = _flags(vectors)[:length]
    return Vectors(
        vectors=vectors.vectors[:length], item_logits=vectors.item_logits[:length], read=None if read.all() else read
    )


def _copied(vectors: Vectors, capacity: int) -> Vectors:
    larger = Vectors(
        vectors=np.zeros((capacity, vectors.vectors.shape[1]), np.float32),
        item_logits=np.zeros(capacity, np.float32),
        read=np.zeros(capacity, np.bool_),
    )
    length = len(vectors)
    larger.vectors[:length], larger.item_logits[:length] = vectors.vectors, vectors.item_logits
    _flags(larger)[:length] = _flags(vectors)
    return larger
