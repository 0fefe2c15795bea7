"""Keeps receipts in the background; rankings never wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

import structlog

from recsys.errors import StorageError
from recsys.receipt import Receipt, chosen
from serving.receipt_log import ReceiptLog
from serving.receipt_rows import Run

_WAITING, _AT_ONCE = 1_000, 100

_log = structlog.get_logger()


class ReceiptWriter:
    """One thread that writes the receipts of a share of the rankings.

    No more than ``waiting`` wait for it: beyond, and where the file cannot be written, receipts are ``dropped``,
    counted, and warned of each time their number has doubled. ``written`` counts the others.
    """

    def __init__(self, log: ReceiptLog, share: float, *, waiting: int = _WAITING) -> None:
        self.dropped = self.written = 0
        self._receipts, self._share, self._most_waiting = log, share, waiting
        self._queue: deque[Receipt] = deque()
        self._warn_at = 1
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="receipt-writer", daemon=True)
        self._thread.start()

    def wants(self, request_id: str) -> bool:
        """Tell whether this request is to leave a receipt."""
        return chosen(request_id, self._share)

    def begin(self, run: Run) -> None:
        """Note from where a bundle goes on, whose rankings will leave receipts.

        Raises:
            StorageError: the file cannot be written.
        """
        self._receipts.begin(run)

    def known_at(self, change: int) -> int | None:
        """Return up to where the event log was known when an item changed; None where that was not noted.

        Raises:
            StorageError: the file cannot be read.
        """
        return self._receipts.known_at(change)

    def offer(self, receipt: Receipt) -> None:
        """Have a receipt written, or drop it."""
        with self._changed:
            if len(self._queue) < self._most_waiting and not self._closed:
                self._queue.append(receipt)
                self._changed.notify()
                return
        self._drop(1, "too many are waiting to be written")

    def note(self, changes: range, state_versions: Mapping[str, int]) -> None:
        """Note up to where the one event log was known when items changed; their changes by number."""
        if len(state_versions) == 1:
            try:
                self._receipts.note(changes, *state_versions.values())
            except StorageError as error:
                self._drop(0, str(error))

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while part := self._take():
            try:
                self._receipts.keep(part)
                self.written += len(part)
            except StorageError as error:
                self._drop(len(part), str(error))

    def _take(self) -> list[Receipt]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            return [self._queue.popleft() for _ in range(min(len(self._queue), _AT_ONCE))]

    def _drop(self, count: int, reason: str) -> None:
        with self._changed:
            self.dropped += count
            if self.dropped < self._warn_at:
                return
            self._warn_at = 2 * self.dropped
        _log.warning("receipts dropped", dropped=self.dropped, reason=reason)
