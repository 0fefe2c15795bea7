"""The click head on a device that holds the item vectors: a call brings row numbers and takes scores away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from recsys.gpu import GPU, Gpu, words_of
from recsys.onnx_session import on_cuda, open_recording, open_session
from recsys.text.gather_graph import identity_graph, with_gather
from recsys.text.recorded import NotRecorded, RecordedHead
from recsys.text.resident import DeviceTable, ResidentVectors
from recsys.text.vectors import Vectors

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.integer]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRows:
    """B lists by the rows of their texts.

    ``candidates`` [B, N] and ``history`` [B, H], newest first, are rows of the known texts and, behind them, of those
    that came with the call; any text's where a row is -1. ``actions`` [B, H] are codes, 0 on padding, ``ages`` [B, H]
    hours, -1 where unknown.
    """

    candidates: npt.NDArray[np.integer]
    history: npt.NDArray[np.integer]
    actions: npt.NDArray[np.int8]
    ages: Floats

    def halves(self) -> tuple[ListRows, ListRows, int] | None:
        """Cut into two, and name the axis along which their outputs join; None for one list of one candidate."""
        lists, each = self.candidates.shape
        if lists > 1:
            first, second = (
                ListRows(
                    candidates=self.candidates[part],
                    history=self.history[part],
                    actions=self.actions[part],
                    ages=self.ages[part],
                )
                for part in (slice(lists // 2), slice(lists // 2, None))
            )
            return first, second, 0
        if each > 1:
            cut = self.candidates[:, : each // 2], self.candidates[:, each // 2 :]
            return replace(self, candidates=cut[0]), replace(self, candidates=cut[1]), 1
        return None


class ResidentHead:
    """Scores lists with the vectors of one growing table, which lie on the device (``ResidentVectors``)."""

    def __init__(
        self,
        session: Any,
        vectors: ResidentVectors,
        *,
        device: str,
        gpu: Gpu = GPU,
        recorded: RecordedHead | None = None,
    ) -> None:
        """Score with a session of ``with_gather`` on a device, "cuda" or "cpu"; what is recorded is quicker there."""
        self._session, self._vectors, self._gpu, self._recorded = session, vectors, gpu, recorded
        gpu.turns.keep_for(self, session, vectors)
        if device == "cuda":
            gpu.use()

    @classmethod
    def open(cls, head: bytes, *, device: str, threads: int = 0, gpu: Gpu = GPU) -> ResidentHead | None:
        """Open an exported click head on a device; None where that fails, or ONNX Runtime chooses another one."""
        return gpu.opened(lambda: cls._opened(head, device, threads, gpu), lambda: None)

    @classmethod
    def _opened(cls, head: bytes, device: str, threads: int, gpu: Gpu) -> ResidentHead | None:
        cuda = device == "cuda"
        graph = with_gather(head)
        session = open_session(graph, threads=threads, cuda=cuda)
        if on_cuda(session) != cuda:
            return None
        copies = open_session(identity_graph(), threads=threads, cuda=cuda)
        recorded = _recording(graph, device, gpu) if cuda else RecordedHead(session, device=device, gpu=gpu)
        return cls(session, ResidentVectors(copies, device), device=device, gpu=gpu, recorded=recorded)

    @property
    def providers(self) -> list[str]:
        """The execution providers that really run the graph."""
        return list(self._session.get_providers())

    @property
    def recording(self) -> bool:
        """Whether kernels are recorded and played; no longer once that has failed."""
        return self._recorded is not None

    def score(self, known: Vectors, rows: ListRows, more: Vectors | None, instead: Callable[[], Floats]) -> Floats:
        """Return the text outputs [B, N, 5].

        Args:
            known: the one table whose rows this head is ever asked for; it may have grown.
            rows: the lists.
            more: texts beyond the known ones, of this call alone.
            instead: computes the same on the CPU, for when the device does not answer.
        """
        halves = rows.halves()

        def halved() -> Floats:
            assert halves is not None  # noqa: S101  # or this is not passed on
            first, second, axis = halves
            return np.concatenate([self._run(known, part, more) for part in (first, second)], axis=axis)

        return self._gpu.answer(
            lambda: self._run(known, rows, more), halved=halved if halves is not None else None, cpu=instead
        )

    def _run(self, known: Vectors, rows: ListRows, more: Vectors | None) -> Floats:
        count, own = len(known), 0 if more is None else len(more)
        places = [np.maximum(part, 0).astype(np.int64) for part in (rows.candidates, rows.history)]
        asked = np.concatenate([part.ravel() for part in places])
        table = self._vectors.holding(known, asked[asked < count])
        candidates, history = (np.where(part < count, part, part - count - own) for part in places)
        launched = partial(self._launched, table, candidates, history, rows, more if own else None)
        if (recorded := self._recorded) is None or own:
            return launched()
        try:
            played = recorded.score(table, candidates, history, rows.actions, rows.ages)
        except NotRecorded as error:
            # Launched first: where the GPU is lost that is known before anything that was recorded can be freed.
            outputs = launched()
            self._recorded = None
            _say_not_recorded(error.__cause__)
            return outputs
        return launched() if played is None else played

    def _launched(
        self, table: DeviceTable, candidates: Rows, history: Rows, rows: ListRows, more: Vectors | None
    ) -> Floats:
        """Score with kernels launched one by one; ``more`` is what rows below 0 are of."""
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("vectors", table.vectors)
        binding.bind_ortvalue_input("logits", table.logits)
        inputs = {
            "own_vectors": np.zeros((1, table.vectors.shape()[1]), np.float32) if more is None else more.vectors,
            "own_logits": np.zeros(1, np.float32) if more is None else more.item_logits,
            "candidate_rows": candidates,
            "history_rows": history,
            "actions": rows.actions.astype(np.int64),
            "ages": rows.ages,
        }
        for name, values in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        binding.bind_output("outputs", "cpu")
        self._session.run_with_iobinding(binding)
        outputs: Floats = binding.copy_outputs_to_cpu()[0]
        return outputs


def _recording(graph: bytes, device: str, gpu: Gpu) -> RecordedHead | None:
    """Open a head for recording; None where that fails, whatever it is, for it is only quicker."""
    try:
        session = open_recording(graph)
    except Exception as error:  # noqa: BLE001
        _say_not_recorded(error)
        return None
    if not on_cuda(session):
        _say_not_recorded(None)
        return None
    return RecordedHead(session, device=device, gpu=gpu)


def _say_not_recorded(error: BaseException | None) -> None:
    words = "ONNX Runtime gave the session to the CPU" if error is None else words_of(error)
    _log.warning("not recorded", error=words, now="kernels are launched one by one; rankings take longer")
