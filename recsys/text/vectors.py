"""What the encoder says of texts: a vector and an item-only click logit of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from recsys.errors import BundleError
from recsys.gentle import rest
from recsys.tensors import read_tensors

Floats = npt.NDArray[np.float32]

# What is looked at in one stretch; how far a vector's squared length may be from 1; how much a logit may be.
_PIECE, _OFF, _MOST_LOGIT = 1_024, 0.01, 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Unit vectors [I, D] and item-only click logits [I] of I texts; ``read`` [I] is False where one is still to come.

    None stands for all of them being there. ``written`` [I] counts how often a text's vector was written; None stands
    for once.
    """

    vectors: Floats
    item_logits: Floats
    read: npt.NDArray[np.bool_] | None = None
    written: npt.NDArray[np.int32] | None = None

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.item_logits)

    def to_bytes(self) -> bytes:
        """Serialise as safetensors."""
        return bytes(save({"vectors": self.vectors, "item_logits": self.item_logits}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Vectors:
        """Read what ``to_bytes`` wrote.

        Raises:
            BundleError: it is something else, or says what no encoder does.
        """
        try:
            tensors = read_tensors(data)
            found = cls(vectors=tensors["vectors"], item_logits=tensors["item_logits"])
            sound = _of_an_encoder(found)
        except Exception as error:  # whatever it is: they have another form
            raise BundleError("vectors.safetensors cannot be read; train and publish the bundle again") from error
        if not sound:
            raise BundleError("vectors.safetensors holds what no encoder says; train and publish the bundle again")
        return found

    def with_text(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return the rows [n] of texts that have been read, -1 in place of the others; all lie below ``len(self)``."""
        if self.read is None or not len(self):
            return rows
        return np.where(self.read[np.maximum(rows, 0)], rows, np.int32(-1))

    def at(self, rows: npt.NDArray[np.integer], more: Vectors | None = None) -> tuple[Floats, Floats]:
        """As ``gather``, for rows [n], into new arrays: vectors [n, D] and logits [n]."""
        vectors, logits = np.empty((len(rows), self.vectors.shape[1]), np.float32), np.empty(len(rows), np.float32)
        self.gather(rows, vectors, logits, more)
        return vectors, logits

    def gather(
        self, rows: npt.NDArray[np.integer], vectors: Floats, logits: Floats | None, more: Vectors | None
    ) -> None:
        """Write the vectors [..., D] and logits [...] of some rows [...]; any text's where a row is -1.

        Rows from ``len(self)`` on are those of ``more``.
        """
        if len(self):
            np.take(self.vectors, rows, axis=0, out=vectors, mode="clip")
        if len(self) and logits is not None:
            np.take(self.item_logits, rows, out=logits, mode="clip")
        if more is not None and len(more):
            theirs = rows >= len(self)
            vectors[theirs] = more.vectors[rows[theirs] - len(self)]
            if logits is not None:
                logits[theirs] = more.item_logits[rows[theirs] - len(self)]


def _of_an_encoder(found: Vectors) -> bool:
    """Tell whether vectors [I, D] have length 1, and item-only logits [I] are such as a click has."""
    if found.vectors.shape[:-1] != found.item_logits.shape or found.item_logits.ndim != 1:
        return False
    for begin in range(0, len(found), _PIECE):
        piece, logits = found.vectors[begin : begin + _PIECE], found.item_logits[begin : begin + _PIECE]
        squared = np.einsum("id,id->i", piece, piece)
        # What is no number is not within bounds either.
        if not ((abs(squared - 1) <= _OFF).all() and (abs(logits) <= _MOST_LOGIT).all()):
            return False
        rest()
    return True
