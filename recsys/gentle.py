"""Work that leaves room for others: in a gentle thread it rests again and again, which costs it time and nobody else.

Who waits for Python's lock gets it when the thread that has it has kept it for long (``sys.setswitchinterval``), and a
ranking asks for it some twenty times. So a thread that runs Python for a quarter of a second, as the loading of a
bundle does, makes each ranking meanwhile several times as long, unless it rests of its own accord.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

# For how long to work at a stretch, and then to rest.
_STRETCH_S, _REST_S = 0.0003, 0.003


class _Own(threading.local):
    began_s = math.inf  # of this stretch; only a gentle thread ever begins one


_own = _Own()


@contextmanager
def gentle() -> Iterator[None]:
    """Have this thread be gentle for as long as the block runs."""
    before = _own.began_s
    _own.began_s = time.perf_counter()
    try:
        yield
    finally:
        _own.began_s = before


def rest() -> None:
    """Pause, if this thread is a gentle one that has worked for a stretch; for loops that may take long."""
    if time.perf_counter() - _own.began_s > _STRETCH_S:
        time.sleep(_REST_S)
        _own.began_s = time.perf_counter()


def resting(items: Iterable[T], *, every: int = 128) -> Iterator[T]:
    """Yield items, with a ``rest`` after so many."""
    for number, item in enumerate(items):
        if not number % every:
            rest()
        yield item
