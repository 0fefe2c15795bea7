"""Has changes of items made, one after the other, by a thread of their own.

A change waits for what is being learned, which waits for a disk or for a store; no ranking must wait for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from recsys.errors import NotReady, Overloaded

T = TypeVar("T")

# How many calls may wait for one another; each may bring as many items as a message holds.
_MOST = 64
_LATER_S = 1.0


class ItemChanges:
    """What changes items, and who waits for it; the first outlives the second where a caller has gone.

    For the event loop; ``waiting`` for any thread.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="items")
        self._jobs: dict[Future[Any], asyncio.Future[Any]] = {}

    @property
    def busy(self) -> bool:
        """Whether one is being made, or waits to be, even if its caller has gone."""
        return bool(self._jobs)

    @property
    def waiting(self) -> int:
        """How many wait for the thread."""
        return sum(not job.running() for job in list(self._jobs))

    @property
    def unanswered(self) -> list[asyncio.Future[Any]]:
        """What callers wait for."""
        return list(self._jobs.values())

    def submit(self, change: Callable[[], T]) -> asyncio.Future[T]:
        """Have a change made, and return its answer to be; cancelled, it is not begun, or it is finished for nobody.

        Raises:
            Overloaded: too many wait; says when to try again.
            NotReady: the server is shutting down.
        """
        if len(self._jobs) >= _MOST:
            raise Overloaded(f"{_MOST} changes of items wait; send more items in a call", after_s=_LATER_S)
        try:
            job = self._executor.submit(change)
        except RuntimeError:
            raise NotReady("the server is shutting down; ask another one") from None
        answer = asyncio.wrap_future(job)
        self._jobs[job] = answer
        job.add_done_callback(self._jobs.pop)
        return answer

    def close(self) -> None:
        """Make no change any more but the one that has begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)
