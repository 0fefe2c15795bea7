"""The item encoder as an ONNX graph: what an item says -> one vector and one item-only click logit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.gpu import GPU, Gpu, GpuState
from recsys.onnx_session import on_cuda, open_session
from recsys.text.tokens import Tokens

# Tokens of one call. On a GPU a call costs 0.3 ms of launches whatever its size: in fp16 8,192 tokens take 1.0 ms of
# arithmetic on an H200, and a catalog is encoded in 1.5 times the time that calls of 65,536 take.
TOKEN_BUDGET, TOKEN_BUDGET_ON_GPU = 8_192, 65_536

Part = TypeVar("Part")


class ItemEncoder:
    """Encodes tokenized items in length-bucketed batches.

    The graph takes ``ids`` and ``fields`` (int64 [b, t], field -1 on padding) and gives ``vectors`` (float32 [b, D],
    unit length) and ``item_logits`` (float32 [b]).
    """

    def __init__(self, graph: bytes, *, threads: int = 0, cuda: bool | None = None, gpu: Gpu = GPU) -> None:
        """Open the graph; ``gpu`` is told the GPU's faults, and the graph then opened on the CPU too."""
        self._session: Any = gpu.opened(
            lambda: open_session(graph, threads=threads, cuda=cuda),
            lambda: open_session(graph, threads=threads, cuda=False),
        )
        # Opened when it is first needed, from the same bytes: it takes as much memory again.
        self._on_cpu: Callable[[], Any] = cache(lambda: open_session(graph, threads=threads, cuda=False))
        self._gpu: Gpu | None = None
        if on_cuda(self._session):
            self._gpu = gpu
            gpu.turns.keep_for(self, self._session)
            gpu.use()
        self.dimensions = int(self._session.get_outputs()[0].shape[1])

    @property
    def providers(self) -> list[str]:
        """The execution providers that really run the graph."""
        return list(self._session.get_providers())

    def encode(
        self, tokens: Tokens, *, token_budget: int | None = None, progress: Callable[[int], None] | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return vectors [n, D] and item-only logits [n]; ``progress`` is told how many texts each batch finished.

        A batch has ``token_budget`` tokens at most, padding counted; None chooses what the device is fastest with.
        """
        used = self._gpu is not None and self._gpu.state is GpuState.USED
        budget = token_budget or (TOKEN_BUDGET_ON_GPU if used else TOKEN_BUDGET)
        vectors = np.empty((len(tokens), self.dimensions), np.float32)
        logits = np.empty(len(tokens), np.float32)
        batches = ((rows, tokens.padded(rows)) for rows in tokens.batches(budget))
        for rows, padded in _ahead(batches) if used and token_budget is None else batches:
            vectors[rows], logits[rows] = self._run(*padded)
            if progress is not None:
                progress(len(rows))
        return vectors, logits

    def encode_apart(self, tokens: Tokens) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Encode each text in a call of its own, so that its vector does not depend on its neighbours by one bit."""
        return self.encode(tokens, token_budget=1)

    def _run(
        self, ids: npt.NDArray[np.int64], fields: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if self._gpu is None:
            return _computed(self._session, ids, fields)
        half = -(-len(ids) // 2)
        # A batch that was made for the GPU would take gigabytes on the CPU.
        small = max(1, TOKEN_BUDGET // ids.shape[1])
        return self._gpu.answer(
            lambda: _computed(self._session, ids, fields),
            halved=None if half == len(ids) else lambda: _in_parts(self._session, half, ids, fields),
            cpu=lambda: _in_parts(self._on_cpu(), small, ids, fields),
        )


def _ahead(parts: Iterator[Part]) -> Iterator[Part]:
    """Make the next part while the last one is with the GPU."""
    with ThreadPoolExecutor(1) as aside:
        upcoming = aside.submit(next, parts, None)
        while (part := upcoming.result()) is not None:
            upcoming = aside.submit(next, parts, None)
            yield part


def _in_parts(
    session: Any, size: int, ids: npt.NDArray[np.int64], fields: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    starts = range(0, len(ids), size)
    parts = [_computed(session, ids[start : start + size], fields[start : start + size]) for start in starts]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _computed(
    session: Any, ids: npt.NDArray[np.int64], fields: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    vectors, logits = session.run(None, {"ids": ids, "fields": fields})
    return vectors, logits
