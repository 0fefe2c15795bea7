"""The directory where one server keeps what it is told of."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from recsys.errors import ConfigError
from serving.config import ServerConfig
from serving.event_log import EventLog
from serving.item_log import ItemLog
from serving.receipt_log import ReceiptLog
from serving.receipt_writer import ReceiptWriter

EVENTS, ITEMS, VECTORS, RECEIPTS = "events.db", "items.sqlite", "vectors.sqlite", "receipts.sqlite"


class DataDirectory:
    """A directory in use by this process alone, and the logs of events and of items in it; ``close`` gives it back.

    Raises:
        ConfigError: another server uses it, it cannot be written, or what lies in it is no event log.
        StorageError: the item log cannot be used.
    """

    def __init__(self, path: Path, *, late_window_s: float) -> None:
        self._path = path
        self.vectors = path / VECTORS
        self._receipts: tuple[ReceiptWriter, ReceiptLog] | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error}); name another directory with --data") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.event_log = EventLog(path / EVENTS, late_window_s=late_window_s)
            self.item_log = ItemLog(path / ITEMS)
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigError(
                f"{path} is in use by another server; stop that one, or name another directory with --data"
            ) from None
        except BaseException:
            os.close(self._lock)
            raise

    def snapshot(self, bundle_id: str) -> Path:
        """Name the file of what a bundle's state had learned."""
        return self._path / f"state-{bundle_id}.safetensors"

    def open_receipts(self, config: ServerConfig) -> ReceiptWriter | None:
        """Return what keeps receipts here; None where none are to be kept.

        Raises:
            StorageError: the file is something else, damaged, or cannot be written.
        """
        if not config.receipts:
            return None
        log = ReceiptLog(self._path / RECEIPTS, most=config.most_receipts, most_bytes=config.receipt_bytes)
        self._receipts = ReceiptWriter(log, config.receipts), log
        return self._receipts[0]

    def close(self) -> None:
        """Write the receipts that wait, close the logs, then let another server in."""
        for each in self._receipts or ():
            each.close()
        self.item_log.close()
        self.event_log.close()
        os.close(self._lock)
