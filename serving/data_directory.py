"""The directory where one server keeps its event log."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from recsys.errors import ConfigError
from serving.event_log import EventLog

EVENTS = "events.db"


class DataDirectory:
    """A directory in use by this process alone, and the event log in it; ``close`` gives it back.

    Raises:
        ConfigError: another server uses it, it cannot be written, or what lies in it is no event log.
    """

    def __init__(self, path: Path, *, late_window_s: float) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error}); name another directory with --data") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.event_log = EventLog(path / EVENTS, late_window_s=late_window_s)
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigError(
                f"{path} is in use by another server; stop that one, or name another directory with --data"
            ) from None
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the log, then let another server in."""
        self.event_log.close()
        os.close(self._lock)
