"""Writes down what a model has learned, every few minutes and at the end, so that a restart has little to read."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import structlog

from recsys.files import write_file
from serving.data_directory import DataDirectory
from serving.model import Model

_log = structlog.get_logger()


class Snapshots:
    """One thread that writes a snapshot where there is news: when it starts, and ``every_s`` seconds after each.

    ``known`` is up to where the snapshot in the directory knows the event log, 0 without one. Only for a state of this
    process alone.
    """

    def __init__(self, model: Model, data: DataDirectory, *, known: int, every_s: float) -> None:
        self._model = model
        self._data = data
        self._every_s = every_s
        self._written = (model.bundle_id, {data.event_log.name: known})
        self._stopping = threading.Event()
        # A daemon, so that a disk that hangs does not keep a stopping server alive.
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Begin; the model has caught up with its log."""
        self._thread.start()

    def turn_to(self, model: Model) -> None:
        """Write down another model's from the next turn on: until then, the former one's is there for a restart."""
        self._model = model

    def close(self, *, last: bool) -> None:
        """Write no more; ``last`` waits for what is being written, and writes down all that was learned."""
        self._stopping.set()
        if last:
            self._thread.join()
            self._write()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._has_news():
                self._write()
            self._stopping.wait(self._every_s)

    def _has_news(self) -> bool:
        """Look; a function of its own, so that no model is kept in memory while the thread waits."""
        model = self._model
        return (model.bundle_id, dict(model.state_versions)) != self._written

    def _write(self) -> None:
        """Write a snapshot; where the disk refuses, the next start goes on from the one before."""
        began, model = time.perf_counter(), self._model
        known = dict(model.state_versions)  # before, so that no news is left out
        written = self._data.snapshot(model.bundle_id)
        try:
            data = model.snapshot()
            write_file(written, data)
            for path in written.parent.glob("state-*.safetensors"):
                if path != written:
                    path.unlink(missing_ok=True)  # another bundle's
        except OSError as error:
            _log.error("snapshot not written", reason=str(error))
            return
        self._written = (model.bundle_id, known)
        _log.info("snapshot written", bytes=len(data), seconds=round(time.perf_counter() - began, 3))


def clear_unfinished(snapshot: Path) -> None:
    """Remove what a process that was killed while it wrote a snapshot has left; it may be as large as the snapshot."""
    for path in snapshot.parent.glob(".state-*.safetensors.tmp-*"):
        path.unlink(missing_ok=True)
