"""Makes the changes of items that another process records in this one too, a moment later."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import structlog

from serving.item_log import ItemLog
from serving.item_replay import replay_changes
from serving.live_state import LiveState
from serving.logging import frames_of

_EVERY_S = 0.2

_log = structlog.get_logger()


class ItemFollower:
    """Follows the item log of a file, from ``catch_up`` until it is closed."""

    def __init__(self, path: Path, live: LiveState) -> None:
        self._live = live
        self._item_log = ItemLog(path)
        self._sequence = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="items", daemon=True)

    def catch_up(self) -> None:
        """Make all changes since the last time; at first, those of every item that ever changed.

        Raises:
            StorageError: the log cannot be read.
        """
        upto = self._item_log.sequence
        if upto > self._sequence:
            log, after = self._item_log, self._sequence
            replay_changes(log.as_of(upto, after=after) if after else log.current(upto), _Everywhere(self._live))
            self._sequence = upto

    def start(self) -> None:
        """Look for changes five times a second, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Follow no longer."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._item_log.close()

    def _follow(self) -> None:
        while not self._closing.wait(_EVERY_S):
            try:
                self.catch_up()
            except Exception as error:  # noqa: BLE001 - it is tried again, and rankings go on
                _log.error("items not followed", frames=frames_of(error))


class _Everywhere:
    """All bundles of a server, as what a change of items is made in; their own item log records it too."""

    def __init__(self, live: LiveState) -> None:
        self._live = live

    @property
    def item_schema(self) -> pl.Schema:
        return self._live.item_schema

    def upsert(self, items: pl.DataFrame, record: object = None) -> int:  # noqa: ARG002
        return self._live.upsert(items)

    def delete(self, item_ids: Iterable[str]) -> int:
        return self._live.delete(item_ids)
