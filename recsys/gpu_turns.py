"""Who is at work on a GPU, who is alone with it for a moment, and what may not be freed there meanwhile."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

# How long somebody who wants to be alone with it waits for those who are at work.
_ALONE_S = 0.02


class GpuTurns:
    """Lets any number of threads be at work, or one be alone: while it records kernels nobody may allocate or free."""

    def __init__(self) -> None:
        """Begin with nobody there."""
        self._gate = threading.Condition()
        self._working = self._opening = 0
        self._alone = False
        self._for_ever = False
        self._numbers = count()
        self._kept: dict[int, tuple[object, ...]] = {}
        self._left: deque[tuple[object, ...]] = deque()

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
        """Keep what an owner has on the GPU until it is gone and somebody is at work there, who frees it.

        To free memory spoils a recording, whoever does it. No thing may lead to the owner.
        """
        number = next(self._numbers)
        self._kept[number] = things
        weakref.finalize(owner, self._gone, number).atexit = False

    def keep_for_ever(self) -> None:
        """Free nothing any more, not even at the end of the process: for when CUDA is lost.

        What was recorded cannot be freed then: ONNX Runtime ends the process there (its pull request 32081).
        """
        self._for_ever = True
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def _gone(self, number: int) -> None:
        # Wherever an owner ends, in the midst of a recording, too: no lock, and nothing is freed here.
        self._left.append(self._kept.pop(number))

    def _free_what_is_left(self) -> None:
        with suppress(IndexError):  # others do the same
            while not self._for_ever:
                self._left.popleft()
