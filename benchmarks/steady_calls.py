"""An open loop of rankings that goes on while something else happens, and what came back of it.

Calls are led as the product's client leads them (``serving.client.dispatch``), so those that are refused are tried
again; which tries failed is kept, too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from grpc import aio

from serving.client.dispatch import Course, Dispatch
from serving.client.lead import lead_async

RANK = "/recsys.v1.RankingService/Rank"
_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Load:
    """What came back: when each call was due, its milliseconds and its request; answers, or codes of failures.

    ``failed`` are calls, ``refused`` are single tries.
    """

    due: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    refused: list[tuple[float, str]] = field(default_factory=list)

    def p99(self, spans: list[tuple[float, float]]) -> float:
        """Return what 99 % of the calls that were due in some spans of time took at most, in milliseconds."""
        due = np.array(self.due)
        among = np.any([(due >= begin) & (due < end) for begin, end in spans], axis=0)
        return float(np.percentile(np.array(self.milliseconds)[among], 99))

    def codes(self, spans: list[tuple[float, float]]) -> dict[str, int]:
        """Count the tries that failed of calls that were due in some spans of time, by code."""
        return dict(Counter(code for due, code in self.refused if any(begin <= due < end for begin, end in spans)))


class Running:
    """An open loop of calls, in a thread of its own, for as long as the block runs or until ``stop``."""

    def __init__(self, address: str, requests: list[bytes], rate: float) -> None:
        self.load = Load()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(address, requests, rate)))

    def stop(self) -> None:
        """Send no more, and wait for what is under way."""
        self._ended.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run(self, address: str, requests: list[bytes], rate: float) -> None:
        load, begin, calls = self.load, time.perf_counter(), set[asyncio.Task[None]]()
        dispatch = Dispatch(1)
        async with aio.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 200)]) as channel:
            rank: Any = channel.unary_unary(RANK)

            async def ask(number: int, due: float) -> None:
                course = _seen(dispatch.course(_TIMEOUT_S), due, load.refused)
                ended = await lead_async(course, [rank], requests[number])
                load.due.append(due)
                load.milliseconds.append(1e3 * (time.perf_counter() - due))
                if ended.answered:
                    load.answers.append((number, ended.answer))
                else:
                    load.failed.append((due, ended.code.name))

            count = 0
            while not self._ended.is_set():
                due = begin + count / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                task = asyncio.create_task(ask(count % len(requests), due))
                calls.add(task)
                task.add_done_callback(calls.discard)
                count += 1
            await asyncio.gather(*calls)


def _seen(course: Course, due: float, refused: list[tuple[float, str]]) -> Course:
    """Follow a course, and note the tries that fail."""
    ended = None
    while True:
        try:
            step = course.send(ended)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return] # the course's type says it
        ended = yield step
        if ended is not None and not ended.answered:
            refused.append((due, ended.code.name))
