"""The click head as an ONNX graph: history x candidates -> what the text says about each candidate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.onnx_session import open_session

# Candidates are padded to a multiple of this, so that the same candidate meets the same kernels in every list.
CANDIDATE_BLOCK = 16


class ClickHead:
    """Scores candidates against histories, several lists at a time.

    The histories are always of the model's full length and the candidates come in whole blocks: a candidate's outputs
    then do not change by one bit with the candidates and the lists beside it.
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
        """Return the text outputs [B, N, 5] in the order of ``recsys.schema.TEXT_OUTPUTS``.

        Args:
            candidates: vectors [B, N, D]; fastest if N is a multiple of ``CANDIDATE_BLOCK``.
            item_logits: item-only logits [B, N].
            history: vectors [B, H, D], newest first, H the model's history length; anything where the action is 0.
            actions: action codes [B, H], 0 on padding.
            ages: hours since each action [B, H], -1 where unknown.
        """
        count = candidates.shape[1]
        if lacking := -count % CANDIDATE_BLOCK or (not count and CANDIDATE_BLOCK):
            candidates = np.pad(candidates, ((0, 0), (0, lacking), (0, 0)))
            item_logits = np.pad(item_logits, ((0, 0), (0, lacking)))
        outputs: npt.NDArray[np.float32]
        (outputs,) = self._session.run(
            None,
            {
                "candidates": candidates,
                "item_logits": item_logits,
                "history": history,
                "actions": actions.astype(np.int64),
                "ages": ages,
            },
        )
        return outputs[:, :count]
