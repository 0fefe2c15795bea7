"""The item encoder as an ONNX graph: what an item says -> one vector and one item-only click logit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recsys.onnx_session import open_session
from recsys.text.tokens import Tokens

TOKEN_BUDGET = 8_192


class ItemEncoder:
    """Encodes tokenized items in length-bucketed batches.

    The graph takes ``ids`` and ``fields`` (int64 [b, t], field -1 on padding) and gives ``vectors`` (float32 [b, D],
    unit length) and ``item_logits`` (float32 [b]).
    """

    def __init__(self, graph: bytes, *, threads: int = 0, cuda: bool | None = None) -> None:
        self._session = open_session(graph, threads=threads, cuda=cuda)
        self.dimensions = int(self._session.get_outputs()[0].shape[1])

    @property
    def providers(self) -> list[str]:
        """The execution providers that really run the graph."""
        return list(self._session.get_providers())

    def encode(
        self, tokens: Tokens, *, token_budget: int = TOKEN_BUDGET, progress: Callable[[int], None] | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return vectors [n, D] and item-only logits [n]; ``progress`` is told how many texts each batch finished."""
        vectors = np.empty((len(tokens), self.dimensions), np.float32)
        logits = np.empty(len(tokens), np.float32)
        for rows in tokens.batches(token_budget):
            vectors[rows], logits[rows] = self._run(*tokens.padded(rows))
            if progress is not None:
                progress(len(rows))
        return vectors, logits

    def encode_apart(self, tokens: Tokens) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Encode each text in a call of its own, so that its vector does not depend on its neighbours by one bit."""
        return self.encode(tokens, token_budget=1)

    def _run(
        self, ids: npt.NDArray[np.int64], fields: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        vectors, logits = self._session.run(None, {"ids": ids, "fields": fields})
        return vectors, logits
