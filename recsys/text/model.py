"""The text model as it is served: texts of a catalog encoded once, a click head per list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from recsys.errors import BundleError
from recsys.schema import TEXT_OUTPUTS, ItemText
from recsys.text.encoder import ItemEncoder
from recsys.text.head import ClickHead
from recsys.text.query import prepend_query
from recsys.text.tokens import ItemTokenizer

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Unit vectors [I, D] and item-only click logits [I] of I texts; ``read`` [I] is False where one is still to come.

    None stands for all of them being there.
    """

    vectors: Floats
    item_logits: Floats
    read: npt.NDArray[np.bool_] | None = None

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
            BundleError: it is something else.
        """
        try:
            tensors = load(data)
            return cls(vectors=tensors["vectors"], item_logits=tensors["item_logits"])
        except Exception as error:  # safetensors raises its own and KeyError alike
            raise BundleError("vectors.safetensors cannot be read; train and publish the bundle again") from error

    def with_text(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return the rows [n] of texts that have been read, -1 in place of the others; all lie below ``len(self)``."""
        if self.read is None or not len(self):
            return rows
        return np.where(self.read[np.maximum(rows, 0)], rows, np.int32(-1))

    def at(self, rows: npt.NDArray[np.integer], more: Vectors | None = None) -> tuple[Floats, Floats]:
        """Gather some rows [n]: vectors [n, D] and logits [n]; rows from ``len(self)`` on are those of ``more``."""
        if more is None or not len(more):
            return self.vectors[rows], self.item_logits[rows]
        ours = rows < len(self)
        vectors = np.empty((len(rows), self.vectors.shape[1]), np.float32)
        logits = np.empty(len(rows), np.float32)
        vectors[ours], logits[ours] = self.vectors[rows[ours]], self.item_logits[rows[ours]]
        theirs = rows[~ours] - len(self)
        vectors[~ours], logits[~ours] = more.vectors[theirs], more.item_logits[theirs]
        return vectors, logits


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """Tokenizer, encoder and click head of one bundle."""

    tokenizer: ItemTokenizer
    encoder: ItemEncoder
    head: ClickHead

    def encode(self, texts: Sequence[ItemText]) -> Vectors:
        """Encode texts that came with a request, each apart, so that no vector depends on its neighbours."""
        vectors, logits = self.encoder.encode_apart(self.tokenizer.encode(texts))
        return Vectors(vectors=vectors, item_logits=logits)

    def score(
        self,
        known: Vectors,
        items: npt.NDArray[np.integer],
        history: npt.NDArray[np.integer],
        actions: npt.NDArray[np.int8],
        ages: Floats,
        *,
        query: int = -1,
        more: Vectors | None = None,
    ) -> Floats:
        """Return the text outputs of one list [N, 5], NaN where a candidate has no text.

        Args:
            known: the vectors that rows refer to.
            items: rows of the candidates [N], -1 without a text.
            history: rows of what the user did [H], newest first, -1 on padding.
            actions: action codes [H], 0 on padding.
            ages: hours since [H], -1 where unknown.
            query: the row of the request's query, -1 without one.
            more: texts beyond the known ones; their rows start at ``len(known)``.
        """
        rows, codes, hours = prepend_query(history[None], actions[None], ages[None], np.array([query]))
        codes = np.where(rows < 0, 0, codes).astype(np.int8)
        vectors, logits = known.at(np.maximum(items, 0), more)
        attended, _ = known.at(np.maximum(rows[0], 0), more)
        outputs = self.head.score(vectors, logits, attended, codes[0], hours[0])
        outputs[items < 0] = np.nan
        return outputs.reshape(len(items), len(TEXT_OUTPUTS))
