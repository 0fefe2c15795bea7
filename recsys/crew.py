"""Threads that share the work of one large pass, where they have nothing else to do.

A pass over a thousand candidates is halved by a second core; under load the cores are better used by one pass each, so
a pass is shared only with threads that are idle at that moment. Nothing ever waits for a helper to come: whoever shares
his work does himself what nobody has taken.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue

Job = Callable[[], None]


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Crew:
    """Up to ``threads`` threads at work at a time, those included that call ``share``; safe to call from any thread."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._at_work = 0
        self._lock = threading.Lock()
        self._calls: SimpleQueue[_Shared | None] = SimpleQueue()
        self._helpers: list[threading.Thread] = []

    def share(self, jobs: Sequence[Job]) -> None:
        """Do jobs that do not depend on each other; an error is raised when none of them is at work any more."""
        with self._lock:
            self._at_work += 1
            invited = min(len(jobs) - 1, self._threads - self._at_work)
            for _ in range(invited - len(self._helpers)):
                self._helpers.append(threading.Thread(target=self._help, name="crew", daemon=True))
                self._helpers[-1].start()
        try:
            if invited > 0:
                shared = _Shared(jobs)
                for _ in range(invited):
                    self._calls.put(shared)
                shared.work()
                shared.wait()
            else:
                for job in jobs:
                    job()
        finally:
            with self._lock:
                self._at_work -= 1

    def close(self) -> None:
        """Let the helpers go; later work is done by those who bring it."""
        with self._lock:
            self._threads = 1
            for _ in self._helpers:
                self._calls.put(None)
            self._helpers.clear()

    def _help(self) -> None:
        while (shared := self._calls.get()) is not None:
            if not shared.open:
                continue
            with self._lock:
                self._at_work += 1
            shared.work()
            with self._lock:
                self._at_work -= 1


class _Shared:
    """Jobs that several threads take one after the other."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = deque(jobs)
        self._left = len(jobs)
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._error: BaseException | None = None

    @property
    def open(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._jobs)

    def work(self) -> None:
        """Take jobs until there are none left."""
        while True:
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised again by ``wait``
                self._error = self._error or error
            with self._lock:
                self._left -= 1
                if not self._left:
                    self._done.set()

    def wait(self) -> None:
        """Return when every job has ended, and raise the first error."""
        self._done.wait()
        if self._error is not None:
            raise self._error
