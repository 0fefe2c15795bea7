"""Who is at work on a GPU, who is alone with it for a moment, and what may not be freed there meanwhile."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# How long somebody who wants to be alone with it waits for those who are at work.
_ALONE_S = 0.02


class GpuTurns:
    """Lets any number of threads be at work, or one be alone: while it records kernels nobody may allocate or free."""

    def __init__(self, lost: Callable[[], bool]) -> None:
        """Begin with nobody there; ``lost`` says whether CUDA answers nothing any more."""
        self._lost = lost
        # Not to be had twice by one thread: see ``_let_go``.
        self._gate = threading.Condition(threading.Lock())
        self._working = self._opening = 0
        self._alone = False
        self._left: deque[list[object]] = deque()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep all others away from the GPU for a moment; for who is at work on it.

        Yields False where that cannot be had soon: others want it too, or a model is being opened, or at work for long.
        """
        with self._gate:
            if self._alone or self._opening:
                taken = False
            else:
                taken = self._alone = True
        try:
            with self._gate:
                found = taken and self._gate.wait_for(lambda: self._working == 1, _ALONE_S)
            yield found
        finally:
            if taken:
                with self._gate:
                    self._alone = False
                    self._gate.notify_all()

    @contextmanager
    def at_work(self, *, opening: bool = False) -> Iterator[None]:
        """Be at work on it, once nobody is alone with it."""
        with self._gate:
            self._gate.wait_for(lambda: not self._alone)
            self._working += 1
            self._opening += opening
        try:
            self._free_what_is_left()
            yield
        finally:
            with self._gate:
                self._working -= 1
                self._opening -= opening
                self._gate.notify_all()

    def keep_for(self, owner: object, *things: object) -> None:
        """Keep what an owner has on the GPU until it is gone, and nobody is alone there.

        To free memory spoils a recording, whoever does it, and what was recorded cannot be freed once CUDA is lost:
        ONNX Runtime ends the process there (its pull request 32081). So things of a lost GPU stay.
        """
        weakref.finalize(owner, self._let_go, list(things)).atexit = False

    def _let_go(self, things: list[object]) -> None:
        """Let go of things, or leave that to who is next at work; waits for nobody: it runs wherever an owner ends."""
        now = self._gate.acquire(blocking=False)
        if now:
            now = not self._alone and not self._lost()
            self._working += now
            self._gate.release()
        if not now:
            self._left.append(things)
            return
        try:
            things.clear()
        finally:
            with self._gate:
                self._working -= 1
                self._gate.notify_all()

    def _free_what_is_left(self) -> None:
        with suppress(IndexError):  # others do the same
            while not self._lost():
                self._left.popleft()
