"""The click head as an ONNX graph: history x candidates -> what the text says about each candidate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.onnx_session import open_session
from recsys.schema import TEXT_OUTPUTS

# Candidates are padded to a multiple of this, so that the same candidate meets the same kernels in every list.
CANDIDATE_BLOCK = 16


class ClickHead:
    """Scores the candidates of one list against one history.

    The history is always padded to the model's full length and the candidates to whole blocks: a candidate's outputs
    then do not change by one bit with the candidates beside it.
    """

    def __init__(self, graph: bytes, *, threads: int = 0, cuda: bool | None = None) -> None:
        self._session = open_session(graph, threads=threads, cuda=cuda)

    @property
    def providers(self) -> list[str]:
        """The execution providers that really run the graph."""
        return list(self._session.get_providers())

    def score(
        self,
        candidates: npt.NDArray[np.float32],
        item_logits: npt.NDArray[np.float32],
        history: npt.NDArray[np.float32],
        actions: npt.NDArray[np.int8],
        ages: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Return the text outputs [N, 5] in the order of ``recsys.schema.TEXT_OUTPUTS``.

        Args:
            candidates: vectors [N, D].
            item_logits: item-only logits [N].
            history: vectors [H, D], newest first, H the model's history length; anything where the action is 0.
            actions: action codes [H], 0 on padding.
            ages: hours since each action [H], -1 where unknown.
        """
        count = len(candidates)
        padded = -(-max(count, 1) // CANDIDATE_BLOCK) * CANDIDATE_BLOCK
        vectors = np.zeros((1, padded, candidates.shape[1]), np.float32)
        vectors[0, :count] = candidates
        logits = np.zeros((1, padded), np.float32)
        logits[0, :count] = item_logits
        (outputs,) = self._session.run(
            None,
            {
                "candidates": vectors,
                "item_logits": logits,
                "history": history[None],
                "actions": actions[None].astype(np.int64),
                "ages": ages[None],
            },
        )
        return np.ascontiguousarray(outputs[0, :count]).reshape(count, len(TEXT_OUTPUTS))
