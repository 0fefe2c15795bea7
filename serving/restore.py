"""Brings a freshly loaded model to where the server's own files say it was."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from recsys.errors import BundleError
from serving.data_directory import DataDirectory
from serving.event_log import EventLog
from serving.item_replay import replay_items
from serving.model import Model
from serving.receipt_rows import Run
from serving.snapshots import clear_unfinished

_log = structlog.get_logger()


def restore_items(model: Model, data: DataDirectory) -> None:
    """Apply the changes of items since the bundle was made."""
    model.keep_vectors(data.vectors)
    replay_items(data.item_log, model)


def restore_state(model: Model, data: DataDirectory) -> Run:
    """Apply the snapshot that fits the bundle, and the events that came after it; returns from where it goes on."""
    began = time.perf_counter()
    log = data.event_log
    snapshot = data.snapshot(model.bundle_id)
    clear_unfinished(snapshot)
    known = _recall(model, snapshot, log)
    model.follow(log.name, known)
    events, heard = 0, known
    for told in log.since(known):
        model.learn(told)
        events, heard = events + len(told), told[-1].sequence
    _log.info("restored", snapshot=known, events=events, seconds=round(time.perf_counter() - began, 3))
    return Run(bundle_id=model.bundle_id, snapshot=known, events=heard, items=data.item_log.sequence)


def _recall(model: Model, snapshot: Path, log: EventLog) -> int:
    """Take over a snapshot, and return up to where it knows the log; 0 without a snapshot that fits."""
    try:
        return model.recall(snapshot.read_bytes(), log.name, log.sequence)
    except FileNotFoundError:
        return 0
    except BundleError as error:
        _log.warning("snapshot left out", reason=str(error))
        return 0
