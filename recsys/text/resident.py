"""Item vectors in the memory of the device that scores with them: copied there when they are first asked for."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from recsys.text.vectors import Vectors

Rows = npt.NDArray[np.integer]
# Rows copied at once, and how many known ones are copied again rather than starting anew behind them.
_AT_ONCE, _GAP = 65_536, 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTable:
    """Vectors [C, D] and item-only logits [C] on the device; ``here`` [C] says which rows have been copied.

    Of each it is the number that it had been ``Vectors.written``, 0 where it has not been copied.
    """

    vectors: Any
    logits: Any
    here: npt.NDArray[np.int32]

    def holds(self, known: Vectors, rows: Rows) -> bool:
        """Tell whether some rows [n] are all here as they are known; what was not read yet is only a filler."""
        if not rows.size:
            return True
        if int(rows.max()) >= len(self.here):
            return False
        absent = self.here[rows] < (1 if known.written is None else known.written[rows])
        return not (absent if known.read is None else absent & known.read[rows]).any()


class ResidentVectors:
    """One table of vectors on a device, for any number of threads; it follows a table in the host's memory.

    That one may grow, and a row of it may be written again while nobody asks for it: a row that is here is looked at
    again only then. Room doubles, as it does there.
    """

    def __init__(self, session: Any, device: str) -> None:
        """Hold nothing yet.

        Args:
            session: an ONNX Runtime session of ``identity_graph`` on the device.
            device: "cuda" or "cpu".
        """
        self._copy, self._device = session, device
        self._changing = threading.Lock()
        self._table: DeviceTable | None = None

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return 0 if self._table is None else len(self._table.here)

    def holding(self, known: Vectors, rows: Rows) -> DeviceTable:
        """Return the table with some rows [n] of ``known`` in it, 0 <= row < ``len(known)``."""
        table = self._table
        if table is not None and table.holds(known, rows):
            return table
        with self._changing:
            table = self._table
            if table is None or len(known) > len(table.here):
                room = max(len(known), 1, 2 * self.capacity)
                table = self._filled(self._empty(room, known.vectors.shape[1]), known)
            elif not table.holds(known, rows):
                table = self._filled(table, known)
            self._table = table
        return table

    def _empty(self, capacity: int, width: int) -> DeviceTable:
        make = ort.OrtValue.ortvalue_from_shape_and_type
        table = DeviceTable(
            vectors=make([capacity, width], np.float32, self._device, 0),
            logits=make([capacity], np.float32, self._device, 0),
            here=np.zeros(capacity, np.int32),
        )
        # What fills up a list is multiplied by 0, and must be a number for that.
        self._write(table.vectors, 0, np.zeros((1, width), np.float32))
        self._write(table.logits, 0, np.zeros((1, 1), np.float32))
        return table

    def _filled(self, table: DeviceTable, known: Vectors) -> DeviceTable:
        """Copy every row that has been read and is not here as it is known."""
        # Noted before anything is copied: what is written meanwhile is copied again when it is asked for.
        written = np.ones(len(known), np.int32) if known.written is None else known.written.copy()
        here = table.here[: len(known)]
        rows = np.flatnonzero(here < written if known.read is None else (here < written) & known.read)
        cuts = np.diff(rows) > _GAP
        # Who asked before a row was written again knows it as it was: no copy goes over a newer one.
        if (newer := here > written).any():
            cuts |= np.diff(np.cumsum(newer)[rows]) > 0
        for span in np.split(rows, np.flatnonzero(cuts) + 1):
            for begin in range(int(span[0]), int(span[-1]) + 1, _AT_ONCE) if span.size else ():
                end = min(begin + _AT_ONCE, int(span[-1]) + 1)
                self._write(table.vectors, begin, known.vectors[begin:end])
                self._write(table.logits, begin, known.item_logits[begin:end, None])
        table.here[rows] = written[rows]  # last: who reads it without the lock finds the rows there
        return table

    def _write(self, target: Any, begin: int, values: npt.NDArray[np.float32]) -> None:
        """Copy values [n, w] to the rows of a target from ``begin`` on."""
        values = np.ascontiguousarray(values, np.float32)
        binding = self._copy.io_binding()
        binding.bind_cpu_input("x", values)
        place = target.data_ptr() + begin * values.shape[1] * values.itemsize
        binding.bind_output("y", self._device, 0, np.float32, list(values.shape), place)
        self._copy.run_with_iobinding(binding)  # returns when the rows are there
