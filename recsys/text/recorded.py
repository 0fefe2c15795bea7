"""The click head's calls of a few shapes: a GPU records the kernels of each once, and plays them again as one."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from recsys.gpu import Gpu
from recsys.schema import TEXT_OUTPUTS
from recsys.text.resident import DeviceTable

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.integer]

# Larger calls are not recorded: their arithmetic outweighs what 200 launches cost.
_MOST_LISTS, _MOST_CANDIDATES = 64, 16_384
_LEAST_EACH = 16

Shape = tuple[int, int, int]


class NotRecorded(Exception):
    """A shape could not be recorded: spoilt by another thread, for want of memory, or by what launched calls meet."""


class _Thread:
    """Stands for one thread, for as long as it lives."""


class RecordedHead:
    """Scores lists by rows of a device's table, in shapes whose sides are powers of two (CUDA graphs, as ORT has them).

    ONNX Runtime keeps what it has recorded apart for each thread, and lets one call at a time use it; while it records,
    no other thread may allocate memory on the GPU (cudaStreamCaptureModeGlobal). Hence the lock, a call's memory for
    each thread, and ``GpuTurns.alone``.
    """

    def __init__(self, session: Any, *, device: str, gpu: Gpu) -> None:
        """Score with a session of ``with_gather`` that nobody else has.

        Args:
            session: opened for recording, or on the CPU, where there is nothing to record.
            device: "cuda" or "cpu".
            gpu: who else is at work on the GPU.
        """
        self._session, self._device, self._gpu = session, device, gpu
        gpu.turns.keep_for(self, session)
        self._running = threading.Lock()
        self._numbers = count(1)
        self._here = threading.local()
        # What each thread has recorded, all of it with one table.
        self._table: DeviceTable | None = None
        self._calls: WeakKeyDictionary[_Thread, dict[Shape, _Call]] = WeakKeyDictionary()

    def score(
        self, table: DeviceTable, candidates: Rows, history: Rows, actions: npt.NDArray[np.int8], ages: Floats
    ) -> Floats | None:
        """Return the text outputs [B, N, 5]; None where the shape is not recorded, nor can be now.

        Args:
            table: where the rows lie.
            candidates: rows of the table [B, N].
            history: rows of the table [B, H].
            actions: action codes [B, H], 0 on padding.
            ages: hours since [B, H], -1 where unknown.

        Raises:
            NotRecorded: recording failed; not to be tried again.
        """
        lists, each = (1 << (side - 1).bit_length() for side in candidates.shape)
        if lists > _MOST_LISTS or lists * each > _MOST_CANDIDATES:
            return None
        shape = lists, max(each, _LEAST_EACH), history.shape[1]
        given = {"candidate_rows": candidates, "history_rows": history, "actions": actions, "ages": ages}
        with self._running:
            if (call := self._mine(table).get(shape)) is not None:
                return call.run(given)
        with self._gpu.turns.alone() as alone:
            if not alone:
                return None
            with self._running:
                return self._record(table, shape, given)

    def _record(self, table: DeviceTable, shape: Shape, given: dict[str, npt.NDArray[Any]]) -> Floats:
        """Record a shape, and compute with it."""
        try:
            call = _Call(self._session, self._device, table, shape, next(self._numbers))
            outputs = call.run(given)
        except Exception as error:
            raise NotRecorded from error
        self._mine(table)[shape] = call
        return outputs

    def _mine(self, table: DeviceTable) -> dict[Shape, _Call]:
        """Return what this thread has recorded with a table; what anybody has with another one is let go of."""
        if table is not self._table:
            self._calls.clear()
            self._table = table
        thread: _Thread = self._here.__dict__.setdefault("thread", _Thread())
        return self._calls.setdefault(thread, {})


class _Call:
    """Memory of one shape [lists, each, entries] on the device, and what a session has recorded with it."""

    def __init__(self, session: Any, device: str, table: DeviceTable, shape: tuple[int, int, int], number: int) -> None:
        lists, each, entries = shape
        self.table = table
        self._session = session
        self._here: dict[str, npt.NDArray[Any]] = {
            "candidate_rows": np.zeros((lists, each), np.int64),
            "history_rows": np.zeros((lists, entries), np.int64),
            "actions": np.zeros((lists, entries), np.int64),
            "ages": np.zeros((lists, entries), np.float32),
        }
        self._there = {name: ort.OrtValue.ortvalue_from_numpy(part, device, 0) for name, part in self._here.items()}
        width = table.vectors.shape()[1]
        own = {"own_vectors": np.zeros((1, width), np.float32), "own_logits": np.zeros(1, np.float32)}
        inputs = {
            "vectors": table.vectors,
            "logits": table.logits,
            **{name: ort.OrtValue.ortvalue_from_numpy(part, device, 0) for name, part in own.items()},
            **self._there,
        }
        self._outputs = ort.OrtValue.ortvalue_from_shape_and_type(
            [lists, each, len(TEXT_OUTPUTS)], np.float32, device, 0
        )
        self._binding = session.io_binding()
        for name, value in inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self._binding.bind_ortvalue_output("outputs", self._outputs)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(number))

    def run(self, given: dict[str, npt.NDArray[Any]]) -> Floats:
        """Compute; what stands in rows and columns beyond those given is of calls before, and is not looked at."""
        for name, values in given.items():
            here = self._here[name]
            here[: values.shape[0], : values.shape[1]] = values
            self._there[name].update_inplace(here)
        self._session.run_with_iobinding(self._binding, self._options)
        lists, each = given["candidate_rows"].shape
        # A copy of its own: on a CPU the next call would write over it.
        outputs: Floats = self._outputs.numpy()[:lists, :each].copy()
        return outputs
