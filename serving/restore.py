"""Brings a freshly loaded model to where the server's own files say it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from recsys.errors import BundleError
from recsys.events import Logged
from serving.data_directory import DataDirectory
from serving.event_log import EventLog
from serving.item_replay import replay_items
from serving.model import Model
from serving.receipt_rows import Run
from serving.snapshots import clear_unfinished

_log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Restored:
    """A model, and up to where it knows the event log and the item log; ``log`` is None where it need not be told.

    ``learn`` has it learn; ``snapshot`` is up to where the snapshot that it took over, or the store, knew the events.
    A store that servers share has been told up to ``stored``, less than ``events`` where it was away.
    """

    model: Model
    learn: Callable[[Sequence[Logged]], None]
    log: EventLog | None
    events: int = 0
    items: int = 0
    snapshot: int = 0
    stored: int | None = None

    def learn_until(self, sequence: int) -> None:
        """Learn what the log tells up to a sequence number."""
        if self.log is not None:
            for told in self.log.since(self.events, upto=sequence):
                self.learn(told)
            self.events = max(self.events, sequence)

    @property
    def run(self) -> Run:
        """What those who check receipts have to know."""
        events = self.events if self.stored is None else self.stored
        return Run(bundle_id=self.model.bundle_id, snapshot=self.snapshot, events=events, items=self.items)


def restore_items(model: Model, data: DataDirectory) -> int:
    """Apply the changes of items since the bundle was made; returns the number of the newest one."""
    model.keep_vectors(data.vectors)
    sequence = data.item_log.sequence
    replay_items(data.item_log, model, sequence=sequence)
    return sequence


def restore_state(model: Model, data: DataDirectory, *, items: int = 0) -> Restored:
    """Apply the snapshot that fits the bundle, and the events that came after it.

    ``items`` is the number of the newest change of items that the model knows.
    """
    began = time.perf_counter()
    log = data.event_log
    snapshot = data.snapshot(model.bundle_id)
    clear_unfinished(snapshot)
    known = _recall(model, snapshot, log)
    model.follow(log.name, known)
    restored = Restored(model=model, learn=model.learn, log=log, events=known, items=items, snapshot=known)
    events, heard = 0, known
    for told in log.since(known):
        model.learn(told)
        events, heard = events + len(told), told[-1].sequence
    restored.events = heard
    _log.info("restored", snapshot=known, events=events, seconds=round(time.perf_counter() - began, 3))
    return restored


def _recall(model: Model, snapshot: Path, log: EventLog) -> int:
    """Take over a snapshot, and return up to where it knows the log; 0 without a snapshot that fits."""
    try:
        return model.recall(snapshot.read_bytes(), log.name, log.sequence)
    except FileNotFoundError:
        return 0
    except BundleError as error:
        _log.warning("snapshot left out", reason=str(error))
        return 0
