"""An open loop of rankings that goes on while something else happens, and what came back of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import numpy as np
from grpc import aio

RANK = "/recsys.v1.RankingService/Rank"
_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Load:
    """What came back: when each call was due, its milliseconds and its request; answers, or codes of failures."""

    due: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)

    def p99(self, spans: list[tuple[float, float]]) -> float:
        """Return what 99 % of the calls that were due in some spans of time took at most, in milliseconds."""
        due = np.array(self.due)
        among = np.any([(due >= begin) & (due < end) for begin, end in spans], axis=0)
        return float(np.percentile(np.array(self.milliseconds)[among], 99))

    def codes(self, spans: list[tuple[float, float]]) -> dict[str, int]:
        """Count the failures of calls that were due in some spans of time, by code."""
        return dict(Counter(code for due, code in self.failed if any(begin <= due < end for begin, end in spans)))


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
        async with aio.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 200)]) as channel:
            rank: Any = channel.unary_unary(RANK)

            async def ask(number: int, due: float) -> None:
                try:
                    reply = await rank(requests[number], timeout=_TIMEOUT_S)
                except grpc.RpcError as error:
                    load.failed.append((due, error.code().name))
                    return
                finally:
                    load.due.append(due)
                    load.milliseconds.append(1e3 * (time.perf_counter() - due))
                load.answers.append((number, reply))

            count = 0
            while not self._ended.is_set():
                due = begin + count / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                task = asyncio.create_task(ask(count % len(requests), due))
                calls.add(task)
                task.add_done_callback(calls.discard)
                count += 1
            await asyncio.gather(*calls)
