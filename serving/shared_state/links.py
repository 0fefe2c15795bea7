"""The connections that rankings share: ready before they are needed, and never used again after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.shared_state.link import Link, NoState

_FIRST_PAUSE_S = 0.05


class Links:
    """Up to ``size`` open links; those that failed are replaced by a thread, so that no ranking waits for connecting.

    After a failure nothing is asked for a while: 0.1 s after the first, twice as long after each further one in a row,
    ``pause_s`` at most. ``open_link`` returns a link that has been tried, or raises NoState.
    """

    def __init__(self, open_link: Callable[[], Link], size: int, *, pause_s: float = 1.0) -> None:
        self._open_link = open_link
        self._size = size
        self._pause_s = pause_s
        self._free: list[Link] = []
        self._open = 0
        self._failures = 0
        self._silent_until = 0.0
        self._refused = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._mend, name="redis-links", daemon=True)
        self._thread.start()

    @contextmanager
    def borrowed(self, deadline: float) -> Iterator[Link]:
        """Lend a link; whatever is raised inside is its end.

        Raises:
            NoState: there was a failure just now, or no link is free by ``deadline`` (of ``time.monotonic``).
        """
        link = self._take(deadline)
        try:
            yield link
        except BaseException:
            self._lose(link)
            raise
        with self._changed:
            self._failures = 0
            self._free.append(link)
            self._changed.notify_all()

    def wait_open(self, seconds: float) -> bool:
        """Wait until all links are open; False if they are not by then, or one could not be opened."""
        with self._changed:
            self._changed.wait_for(lambda: self._open == self._size or self._refused, seconds)
            return self._open == self._size

    @property
    def away(self) -> bool:
        """Whether no link would be lent now."""
        with self._changed:
            silent = time.monotonic() < self._silent_until
            dead = bool(self._free) and not any(link.quiet for link in self._free)
            return silent or self._refused or not self._open or dead

    def close(self) -> None:
        """Close all links."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        for link in self._free:
            link.close()

    def _take(self, deadline: float) -> Link:
        while True:
            with self._changed:
                if time.monotonic() < self._silent_until:
                    raise NoState("skipped", "it failed a moment ago")
                # Where none is open, waiting for one would cost every ranking its whole time.
                self._changed.wait_for(lambda: self._free or not self._open, deadline - time.monotonic())
                if not self._free:
                    raise NoState("connection", "no connection is free")
                link = self._free.pop()
            if link.quiet:
                return link
            self._lose(link, failure=False)

    def _lose(self, link: Link, *, failure: bool = True) -> None:
        link.close()
        with self._changed:
            self._open -= 1
            if failure:
                self._failures += 1
                pause = min(_FIRST_PAUSE_S * 2 ** min(self._failures, 30), self._pause_s)
                self._silent_until = time.monotonic() + pause
            self._changed.notify_all()

    def _mend(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._open < self._size)
                if self._closed:
                    return
            try:
                link = self._open_link()
            except NoState:
                with self._changed:
                    self._refused = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed, self._pause_s)
                continue
            with self._changed:
                self._refused = False
                self._open += 1
                self._free.append(link)
                self._changed.notify_all()
