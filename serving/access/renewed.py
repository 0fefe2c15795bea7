"""Files that somebody else renews while the server runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from recsys.errors import ConfigError

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int, int], ...]

_log = structlog.get_logger()


class Renewed(Generic[T]):
    """What ``read`` makes of the bytes of some files, made again when a file has changed.

    Files that cannot be used are logged once, and what was made before stays: certificate and key are renewed one after
    the other, so for a moment they may not fit. ``read`` raises ValueError, whose text must quote nothing of the files.
    May be asked from any thread.

    Raises:
        ConfigError: the files cannot be used at the start.
    """

    def __init__(self, what: str, paths: tuple[Path, ...], read: Callable[..., T]) -> None:
        self._what = what
        self._paths = paths
        self._names = tuple(map(str, paths))  # asked about at each call, where a Path costs as much as the asking
        self._read = read
        self._lock = threading.Lock()
        try:
            self._stamp: Stamp | None = self._now()
            self._value = self._read_files()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{what} in {self._named()} cannot be used: {_cause(error)}; correct the file") from None

    def get(self) -> T:
        """Return what the files say, or said when they could last be used."""
        try:
            stamp = self._now()
        except OSError:
            stamp = None
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    # Before reading: what changes meanwhile is read again.
                    self._stamp = stamp
                    self._renew()
        return self._value

    def _renew(self) -> None:
        try:
            self._value = self._read_files()
        except (OSError, ValueError) as error:
            _log.error("not renewed", what=self._what, files=self._named(), reason=_cause(error), remedy="correct it")
        else:
            _log.info("renewed", what=self._what)

    def _read_files(self) -> T:
        return self._read(*(path.read_bytes() for path in self._paths))

    def _now(self) -> Stamp:
        status = map(os.stat, self._names)
        return tuple([(each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in status])

    def _named(self) -> str:
        return ", ".join(self._names)


def _cause(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
