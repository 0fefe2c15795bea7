"""Vectors of a catalog that changes while it is read."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.columns import longer
from recsys.text.vectors import Vectors


class LiveVectors:
    """The vectors of the rows of a catalog, for any number of readers and writers at once.

    ``now`` is what a reader takes, once for all that it looks up: its length does not change, and a row that it calls
    read is whole, because a vector is written before it is called so. Where all have been read it does not say each.
    Rows that are forgotten may be called read by it all the same: nobody looks them up, and nobody may.
    """

    def __init__(self, vectors: Vectors) -> None:
        count = len(vectors)
        self.now = vectors
        self._room = _Room(vectors.vectors, vectors.item_logits, np.ones(count, np.bool_), np.ones(count, np.int32))
        self._borrowed = True  # these arrays are the bundle's, and are not written to
        self._writing = threading.Lock()

    def grow(self, length: int) -> None:
        """Make room for rows up to ``length``; the new ones have not been read."""
        with self._writing:
            if length > len(self._room.read):
                self._make_room(max(length, 2 * len(self._room.read)))
            self.now = self._room.head(length)

    def put(self, rows: npt.NDArray[np.integer], found: Vectors) -> None:
        """Write the vectors of some rows [n]: from now on they have been read."""
        with self._writing:
            room = self._room
            room.vectors[rows], room.item_logits[rows] = found.vectors, found.item_logits
            room.written[rows] += 1  # after the vector: a copy of what stood there before is known by the older number
            room.read[rows] = True
            self.now = room.head(len(self.now))

    def forget(self, rows: npt.NDArray[np.integer]) -> None:
        """Let some rows [n] that nobody looks up be such as have not been read."""
        with self._writing:
            if self._borrowed:
                self._make_room(len(self._room.read))
            self._room.read[rows] = False
            self.now = self._room.head(len(self.now))

    def has_read(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Tell which rows [n] have been read."""
        read: npt.NDArray[np.bool_] = self._room.read[rows]
        return read

    def _make_room(self, room: int) -> None:
        self._room, self._borrowed = self._room.longer(room), False


class _Room(NamedTuple):
    """What ``Vectors`` says of each row, with room for more."""

    vectors: npt.NDArray[np.float32]
    item_logits: npt.NDArray[np.float32]
    read: npt.NDArray[np.bool_]
    written: npt.NDArray[np.int32]

    def longer(self, room: int) -> _Room:
        vectors, logits, read, written = (longer(each, room) for each in self)
        return _Room(vectors, logits, read, written)

    def head(self, length: int) -> Vectors:
        read, written = self.read[:length], self.written[:length]
        return Vectors(
            vectors=self.vectors[:length],
            item_logits=self.item_logits[:length],
            read=None if read.all() else read,
            written=written,
        )
