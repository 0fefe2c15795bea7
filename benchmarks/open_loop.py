"""Callers that send when their time comes, whatever became of what they sent before; in a process of their own.

What is measured counts from the moment at which a request was to be sent, so that a generator that falls behind cannot
make the server look quick (Tene's coordinated omission). It says how far behind it was.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import numpy as np
import uvloop
from grpc import StatusCode, aio

from serving.pb import ranking_pb2 as pb

RANK = "/recsys.v1.RankingService/Rank"
# Connections that the callers share; one is read and written by one thread of gRPC.
_CHANNELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Some callers: they send ``rate`` requests a second, at random moments, and wait ``deadline_s`` for each.

    ``told`` says whether the server hears of the deadline. ``metadata`` goes with each request.
    """

    rate: float
    deadline_s: float
    metadata: tuple[tuple[str, str], ...] = ()
    told: bool = True


@dataclass(slots=True)
class Seen:
    """What the callers saw: how each request ended, and the milliseconds of answers in time and of refusals.

    ``behind_ms`` is how late requests were sent, ``full`` how many answers were made of everything.
    """

    ends: Counter[str] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    behind_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    full: int = 0

    @property
    def sent_rps(self) -> float:
        """How many requests were sent a second."""
        return len(self.behind_ms) / self.seconds

    @property
    def goodput_rps(self) -> float:
        """How many were answered in time a second."""
        return len(self.answered) / self.seconds

    @property
    def success(self) -> float:
        """The share of requests that were answered in time."""
        return self.ends["OK"] / max(1, self.ends.total())


class Generator:
    """A process on ``core`` (None: on any) that asks the server at ``address``."""

    def __init__(self, address: str, messages: list[bytes], *, core: int | None, ca: bytes | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_run, args=(theirs, address, messages, core, ca), daemon=True)
        self._child.start()

    def closed(self, parallel: int, seconds: float, metadata: tuple[tuple[str, str], ...] = ()) -> list[float]:
        """Keep so many calls going; the milliseconds of each."""
        self._pipe.send(("closed", parallel, seconds, metadata))
        return self._received()

    def open(self, callers: list[Callers], seconds: float, seed: int = 7) -> list[Seen]:
        """Let the callers send for so long; what each of them saw."""
        self._pipe.send(("open", callers, seconds, seed))
        return self._received()

    def close(self) -> None:
        """Let the process go."""
        self._pipe.close()
        self._child.join(10)

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the process go."""
        self.close()

    def _received(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError("the load generator has died; see above") from None


def _run(pipe: Any, address: str, messages: list[bytes], core: int | None, ca: bytes | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_obey(pipe, address, messages, ca))


async def _obey(pipe: Any, address: str, messages: list[bytes], ca: bytes | None) -> None:
    channels = [_channel(address, ca, place) for place in range(_CHANNELS)]
    calls = [channel.unary_unary(RANK) for channel in channels]
    loop = asyncio.get_running_loop()
    while True:
        try:
            task, *given = await loop.run_in_executor(None, pipe.recv)
        except EOFError:
            break
        gc.collect()
        gc.freeze()
        found = await (_closed if task == "closed" else _open)(calls, messages, *given)
        pipe.send(found)
    for channel in channels:
        await channel.close()


def _channel(address: str, ca: bytes | None, place: int) -> aio.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("recsys.benchmark.channel", place), ("grpc.enable_retries", 0)]
    if ca is None:
        return aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(ca)
    return aio.secure_channel(address, credentials, options=[*options, ("grpc.ssl_target_name_override", "localhost")])


async def _closed(
    calls: list[Any], messages: list[bytes], parallel: int, seconds: float, metadata: tuple[tuple[str, str], ...]
) -> list[float]:
    found: list[float] = []
    begin = time.perf_counter() + min(1.0, seconds / 3)
    end = begin + seconds

    async def ask(first: int) -> None:
        call, place = calls[first % len(calls)], first
        while (began := time.perf_counter()) < end:
            try:
                await call(messages[place % len(messages)], metadata=metadata)
            except grpc.RpcError:
                continue  # it was refused: the others fill its place
            now = time.perf_counter()
            if begin <= now < end:
                found.append(1e3 * (now - began))
            place += parallel

    await asyncio.gather(*(ask(first) for first in range(parallel)))
    return found


async def _open(
    calls: list[Any], messages: list[bytes], callers: list[Callers], seconds: float, seed: int
) -> list[Seen]:
    began = time.perf_counter() + 0.05
    seen = [Seen(seconds=seconds) for _ in callers]
    streams = zip(callers, seen, strict=True)
    replies = await asyncio.gather(
        *(_stream(calls, messages, each, began, one, seed + n) for n, (each, one) in enumerate(streams))
    )
    # Read only now, when nobody waits.
    for one, found in zip(seen, replies, strict=True):
        one.full = sum(pb.RankResponse.FromString(reply).rung == pb.RUNG_FULL for reply in found if reply)
    return seen


async def _stream(
    calls: list[Any], messages: list[bytes], callers: Callers, began: float, seen: Seen, seed: int
) -> list[bytes]:
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / callers.rate, int(callers.rate * seen.seconds * 1.2) + 100)
    moments = np.cumsum(gaps)
    moments = moments[moments < seen.seconds]
    asking: set[asyncio.Task[bytes]] = set()
    replies: list[bytes] = []
    for place, moment in enumerate(moments.tolist()):
        due = began + moment
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        elif place % 8 == 0:
            await asyncio.sleep(0)  # answers come in between, however far behind
        call = calls[place % len(calls)]
        task = asyncio.create_task(_ask(call, messages[place % len(messages)], callers, due, seen))
        asking.add(task)
        task.add_done_callback(asking.discard)
        task.add_done_callback(lambda done: replies.append(done.result()))
    if asking:
        await asyncio.wait(asking)
    return replies


async def _ask(call: Any, message: bytes, callers: Callers, due: float, seen: Seen) -> bytes:
    """Ask once; returns the answer that came in time, or nothing."""
    behind = time.perf_counter() - due
    seen.behind_ms.append(1e3 * behind)
    left = max(callers.deadline_s - behind, 0.001)
    try:
        if callers.told:
            reply: bytes = await call(message, timeout=left, metadata=callers.metadata)
        else:
            reply = await asyncio.wait_for(call(message, metadata=callers.metadata), left)
    except grpc.RpcError as error:
        code = error.code()
        seen.ends[code.name] += 1
        # CANCELLED is what gRPC itself makes of a request that it drops before the server sees it.
        if code in (StatusCode.RESOURCE_EXHAUSTED, StatusCode.CANCELLED):
            seen.refused.append(1e3 * (time.perf_counter() - due))
    except TimeoutError:
        seen.ends["DEADLINE_EXCEEDED"] += 1
    else:
        took = time.perf_counter() - due
        if took <= callers.deadline_s:
            seen.ends["OK"] += 1
            seen.answered.append(1e3 * took)
            return reply
        seen.ends["late"] += 1
    return b""
