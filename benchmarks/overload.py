"""What a server still answers in time when far more is asked than it can compute; beside the same one without limits.

Open loop: requests are sent when their time comes, whatever became of those before, as a product's visitors do. An
answer counts where it came within the deadline. Capacity is what is answered in a closed loop. The control is the same
server with a queue without end, and callers whose deadline it does not hear of.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from figures import Figure, arguments, console, tell
from grpc import StatusCode, aio
from made_bundle import Scale, make_bundle
from serve_latency import RANK, in_parallel, made_requests
from server_process import process

from serving.config import ServerConfig
from serving.logging import configure_logging
from serving.server import RankingServer

DEADLINE_S = 0.25
CANDIDATES = 100
LOADS = (0.5, 1, 2, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Seconds of each load, and of the closed loop."""

    seconds: float
    scale: Scale


FULL = Effort(seconds=15.0, scale=Scale())
QUICK = Effort(seconds=3.0, scale=Scale(lists=4_000, users=120, fitted_lists=400))


@dataclass(slots=True)
class Seen:
    """What callers saw: milliseconds of answers in time and of refusals, and how many of each end."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Measure and tell."""
    options = arguments("Answers in time under more load than there is capacity for.").parse_args()
    effort = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        with console.status("making a bundle: 50,000 items, 300 trees of 63 leaves ..."):
            bundle = make_bundle(Path(folder), effort.scale)
        messages = made_requests(bundle, Path(folder) / "dataset", CANDIDATES)
        with process(_serve, bundle, {}) as address:
            capacity = len(asyncio.run(in_parallel(address, messages, 8, effort.seconds))) / effort.seconds
            seen = {
                load: asyncio.run(open_loop(address, messages, load * capacity, effort.seconds, told=True))
                for load in LOADS
            }
            recovery_s = asyncio.run(recovery(address, messages, capacity, effort.seconds))
        with process(_serve, bundle, {"most_waiting": 1_000_000, "default_deadline_s": 60.0}) as address:
            control = asyncio.run(open_loop(address, messages, 2 * capacity, effort.seconds, told=False))
    figures = {"capacity_rps": Figure(value=capacity, unit="1/s", says="closed loop, 8 calls at a time")}
    for load, found in seen.items():
        share = len(found.answered) / effort.seconds / capacity
        figures[f"goodput_{load:g}x"] = Figure(value=share, unit="", says="answers in time, of capacity")
        figures[f"p99_{load:g}x_ms"] = Figure(value=_p99(found.answered), unit="ms", says="of those")
        figures[f"refused_{load:g}x_p99_ms"] = Figure(value=_p99(found.refused), unit="ms", says="until a refusal")
        console.print(f"{load:g} x capacity: {dict(found.ends)}")
    figures["p99_ratio_5x"] = Figure(value=_p99(seen[5].answered) / _p99(seen[1].answered), unit="x", says="to 1 x")
    figures["recovery_s"] = Figure(value=recovery_s, unit="s", says="after 10 x, until half of it is answered whole")
    without = len(control.answered) / effort.seconds / capacity
    figures["goodput_2x_without_limits"] = Figure(value=without, unit="", says="the control")
    tell(f"overload, {CANDIDATES} candidates, deadline {DEADLINE_S:g} s", figures, options.json)


async def open_loop(address: str, messages: list[bytes], rate: float, seconds: float, *, told: bool) -> Seen:
    """Send so many requests a second, at random moments; ``told`` says whether the server hears of the deadline."""
    seen = Seen()
    rng = np.random.default_rng(7)
    moments = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
    async with aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(RANK)

        async def ask(place: int) -> None:
            sent = time.perf_counter()
            try:
                if told:
                    await call(messages[place % len(messages)], timeout=DEADLINE_S)
                else:
                    await asyncio.wait_for(call(messages[place % len(messages)]), DEADLINE_S)
            except grpc.RpcError as error:
                seen.ends[error.code().name] += 1
                if error.code() is StatusCode.RESOURCE_EXHAUSTED:
                    seen.refused.append(1e3 * (time.perf_counter() - sent))
            except TimeoutError:
                seen.ends["too late"] += 1
            else:
                seen.ends["OK"] += 1
                seen.answered.append(1e3 * (time.perf_counter() - sent))

        began = time.perf_counter()
        asking: list[asyncio.Task[None]] = []
        for place, moment in enumerate(moments.tolist()):
            ahead = began + moment - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            asking.append(asyncio.create_task(ask(place)))
        await asyncio.gather(*asking)
    return seen


async def recovery(address: str, messages: list[bytes], capacity: float, seconds: float) -> float:
    """Ask ten times too much, then half of the capacity; seconds until nothing of a half second is lost any more."""
    await open_loop(address, messages, 10 * capacity, seconds / 3, told=True)
    began = time.perf_counter()
    while True:
        since = time.perf_counter() - began
        found = await open_loop(address, messages, capacity / 2, 0.5, told=True)
        if set(found.ends) == {"OK"} or since > 60:
            return since


def _p99(milliseconds: list[float]) -> float:
    return float(np.percentile(milliseconds, 99)) if milliseconds else float("nan")


async def _serve(pipe: Any, bundle: Path, settings: dict[str, Any]) -> None:
    """Serve as ``recsys serve`` does, its log included."""
    configure_logging("info")
    server = RankingServer(ServerConfig(registry=bundle, port=0, **settings))
    await server.start()
    await server.load()
    pipe.send(server.address)
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop()


if __name__ == "__main__":
    main()
