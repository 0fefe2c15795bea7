"""Samples rankings and measures their drift in the background; a ranking that is not sampled pays for one hash."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.receipt import chosen
from serving.telemetry.drift import Drift

MOST_FEATURES = 30
_WAITING = 64


class DriftWatch:
    """One thread that counts the tables of a share of one bundle's rankings; ``bundle_id`` says whose.

    Watched are the ``strongest`` of the table's columns, named ``names``; the first ``reference`` sampled rankings are
    what the later ones are measured against. Which are sampled follows from their request ids, as with receipts: the
    same ones, where the shares are equal. Where too many wait they are left out, and ``dropped``.
    """

    def __init__(
        self, names: Sequence[str], strongest: Sequence[str], share: float, *, reference: int, bundle_id: str = ""
    ) -> None:
        self.dropped = 0
        self.bundle_id = bundle_id
        self.features = tuple(strongest[:MOST_FEATURES])
        self._share = share
        self._drift = Drift([names.index(name) for name in self.features], reference=reference)
        self._using = threading.Lock()
        self._tables: queue.Queue[npt.NDArray[np.float32] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)
        self._thread.start()

    def wants(self, request_id: str) -> bool:
        """Tell whether this request is sampled."""
        return chosen(request_id, self._share)

    def offer(self, table: npt.NDArray[np.float32]) -> None:
        """Have the ranker's table [N, C] of a ranking counted."""
        try:
            self._tables.put_nowait(table)
        except queue.Full:
            self.dropped += 1

    def indices(self) -> dict[tuple[str, ...], float]:
        """Return the stability index by feature; empty until there is enough to compare."""
        with self._using:
            return {(name,): index for name, index in zip(self.features, self._drift.indices(), strict=False)}

    def reference_lists(self) -> int:
        """Count the rankings in the reference."""
        return self._drift.reference_lists

    def window_lists(self) -> int:
        """Count the rankings in the window."""
        with self._using:
            return self._drift.window_lists

    def close(self) -> None:
        """Count what waits, and end."""
        self._tables.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (table := self._tables.get()) is not None:
            with self._using:
                self._drift.add(table)
