"""The click head as an ONNX graph: history x candidates -> what the text says about each candidate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recsys.gpu import GPU, Gpu
from recsys.onnx_session import cuda_usable, open_session
from recsys.text.grid import on_grid
from recsys.text.resident_head import ListRows, ResidentHead
from recsys.text.vectors import Vectors

Floats = npt.NDArray[np.float32]

# Candidates are padded to a multiple of this, so that the same candidate meets the same kernels in every list.
CANDIDATE_BLOCK = 16

# Candidates of one call, those of several lists together. More would leave a core's nearest caches, and a long list is
# cut so that several cores can share it; a GPU is quicker with fewer, larger calls.
_AT_ONCE, _AT_ONCE_ON_GPU = 256, 16_384


class ClickHead:
    """Scores candidates against histories, several lists at a time: on the GPU by rows, on the CPU by vectors.

    The histories are always of the model's full length and the candidates come in whole blocks: a candidate's outputs
    then do not change by one bit with the candidates and the lists beside it. They lie on a grid, so that neither do
    they change with the device (docs/decisions/0015).
    """

    def __init__(
        self, graph: bytes, *, threads: int = 0, cuda: bool | None = None, grid: float = 0.0, gpu: Gpu = GPU
    ) -> None:
        """Open the graph on the CPU, and on the GPU too where there is one.

        Args:
            graph: the exported head.
            threads: threads for one operator; 0 lets ONNX Runtime choose.
            cuda: True or False forces the choice; None uses the GPU where there is one.
            grid: the bundle's, which outputs are rounded to; 0 leaves them as they are.
            gpu: what the GPU's faults are told to.
        """
        self._session = open_session(graph, threads=threads, cuda=False)
        self._grid = grid
        wanted = cuda_usable() if cuda is None else cuda
        self.resident = ResidentHead.open(graph, device="cuda", threads=threads, gpu=gpu) if wanted else None

    @property
    def providers(self) -> list[str]:
        """The execution providers that really run the graph, best first."""
        return list(self._session.get_providers()) if self.resident is None else self.resident.providers

    @property
    def at_once(self) -> int:
        """How many candidates a call should have at most."""
        return _AT_ONCE if self.resident is None else _AT_ONCE_ON_GPU

    def score_rows(
        self, known: Vectors, rows: ListRows, more: Vectors | None, gathered: Callable[[], Floats]
    ) -> Floats:
        """Return the text outputs [B, N, 5] of lists given by rows; N is a multiple of ``CANDIDATE_BLOCK``.

        Args:
            known: the one table whose rows this head is ever asked for; it may have grown.
            rows: the lists.
            more: texts beyond the known ones, of this call alone.
            gathered: gathers the vectors of the same lists on the host, and scores them with ``score``.
        """
        if self.resident is None:
            return gathered()
        # What gathered() gives is on the grid already, and stays as it is.
        return on_grid(self.resident.score(known, rows, more, gathered), self._grid)

    def score(
        self,
        candidates: Floats,
        item_logits: Floats,
        history: Floats,
        actions: npt.NDArray[np.int8],
        ages: Floats,
    ) -> Floats:
        """Return the text outputs [B, N, 5] in the order of ``recsys.schema.TEXT_OUTPUTS``, computed on the CPU.

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
        return on_grid(outputs[:, :count], self._grid)
