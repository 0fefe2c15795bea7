"""How many events a second become durable, end to end over gRPC on this machine.

The server is the product's own, in a process of its own, with an event log on disk (fsync at every commit) and a model
that only counts what it is told; this process is the client, with the product's own client. Nine events in ten are
lists of ten items, the tenth is a click. Beside it stand the plain ways: one event a call, and one event a commit.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import ROOT, Figure, arguments, console, tell
from server_process import process

from recsys.events import Click, Event, Impression, Logged, time_ordered_id
from serving.client import AsyncRankingClient, RankingClient
from serving.config import ServerConfig
from serving.event_log import EventLog
from serving.logging import configure_logging
from serving.server import RankingServer

ITEMS_SHOWN = 10
PARALLEL = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many events each way is measured with."""

    streamed: int
    calls: int


FULL = Effort(streamed=500_000, calls=5_000)
QUICK = Effort(streamed=100_000, calls=1_000)


def main() -> None:
    """Measure and tell."""
    parser = arguments("How many events a second become durable.")
    parser.add_argument("--data", type=Path, help="a directory on the disk to be measured, instead of a temporary one")
    parser.add_argument("--chunk", type=int, default=500, help="events a message")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        for ordered, suffix in ((True, ""), (False, "_random_ids")):
            with console.status("streaming ..."), process(_serve, Path(folder) / f"streamed{suffix}") as address:
                figures |= streamed(address, effort.streamed, options.chunk, ordered=ordered, suffix=suffix)
        with console.status("calling ..."), process(_serve, Path(folder) / "called") as address:
            figures |= called(address, effort.calls)
        with console.status("committing one by one ..."):
            figures |= committed(Path(folder) / "events.db", effort.calls)
    best, plain = figures["events_per_s"].value, figures["events_per_s_one_a_call"].value
    figures["ratio_one_a_call"] = Figure(value=best / plain, unit="", says="the stream against one event a call")
    tell("event_intake", figures, options.json)


def streamed(address: str, count: int, chunk: int, *, ordered: bool, suffix: str) -> dict[str, Figure]:
    """Stream events, made beforehand, and wait for the one answer."""
    part = 50_000
    seconds: list[float] = []
    with RankingClient(address) as client:
        client.stream(made_events(2_000, seed=0, ordered=ordered), chunk=chunk)
        for number in range(1, 1 + count // part):
            events = made_events(part, seed=number, ordered=ordered)
            began = time.perf_counter()
            recorded = client.stream(events, chunk=chunk)
            seconds.append(time.perf_counter() - began)
            if recorded.accepted != part:
                raise SystemExit(f"only {recorded.accepted} of {part} events were taken: {recorded.rejected[:3]}")
    rate = part * len(seconds) / sum(seconds)
    ids = "ids that begin with the time" if ordered else "ids without order"
    says = f"through StreamEvents, {chunk} a message, {count:,} in all, {ids}"
    return {
        f"events_per_s{suffix}": Figure(value=rate, unit="1/s", says=says),
        f"items_shown_per_s{suffix}": Figure(
            value=rate * 0.9 * ITEMS_SHOWN, unit="1/s", says="in the lists among them"
        ),
        f"last_events_per_s{suffix}": Figure(value=part / seconds[-1], unit="1/s", says=f"the last {part:,} of them"),
    }


def called(address: str, count: int) -> dict[str, Figure]:
    """Send one event a call, one call at a time and many at a time."""
    events = made_events(2 * count, seed=1)
    with RankingClient(address, deadline_s=60) as client:
        began = time.perf_counter()
        for event in events[:count]:
            client.record([event])
        alone = count / (time.perf_counter() - began)
    together = count / asyncio.run(_in_parallel(address, events[count:]))
    return {
        "events_per_s_one_a_call": Figure(value=alone, unit="1/s", says="RecordEvents, one call at a time"),
        f"events_per_s_one_a_call_at_{PARALLEL}": Figure(
            value=together, unit="1/s", says=f"{PARALLEL} calls at a time, which share commits"
        ),
    }


async def _in_parallel(address: str, events: Sequence[Event]) -> float:
    async with AsyncRankingClient(address, deadline_s=60) as client:
        left = iter(events)

        async def send() -> None:
            for event in left:
                await client.record([event])

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(PARALLEL)))
        return time.perf_counter() - began


def committed(path: Path, count: int) -> dict[str, Figure]:
    """Append one event a commit, without a server."""
    events = made_events(count, seed=2)
    with closing(EventLog(path)) as log:
        began = time.perf_counter()
        for event in events:
            log.append([event], now_us=event.ts)
        rate = count / (time.perf_counter() - began)
    return {"events_per_s_one_a_commit": Figure(value=rate, unit="1/s", says="the log alone, one event a commit")}


def made_events(count: int, *, seed: int, ordered: bool = True) -> list[Event]:
    """Make lists of ten and, as every tenth event, a click on one of the latest hundred lists."""
    rng = random.Random(seed)
    now_us = time.time_ns() // 1_000
    lists: list[Impression] = []
    events: list[Event] = []
    for place in range(count):
        event_id, request_id = (
            time_ordered_id(now_us + place) if ordered else uuid.UUID(int=rng.getrandbits(128)).hex for _ in range(2)
        )
        if place % 10 == 9:
            shown = rng.choice(lists[-100:])
            item_id = rng.choice(shown.item_ids)
            events.append(Click(event_id=event_id, request_id=shown.request_id, item_id=item_id, ts=now_us))
            continue
        lists.append(
            Impression(
                event_id=event_id,
                request_id=request_id,
                user_id=f"user-{rng.randrange(100_000)}",
                ts=now_us,
                item_ids=tuple(f"item-{row}" for row in rng.sample(range(50_000), ITEMS_SHOWN)),
                surface="home",
            )
        )
        events.append(lists[-1])
    return events


async def _serve(pipe: Any, data: Path) -> None:
    """Serve as ``recsys serve`` does, with a model that counts."""
    configure_logging("warning")
    path = ROOT / "tests" / "serving" / "length_model.py"
    spec = importlib.util.spec_from_file_location("length_model", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class CountingModel(module.LengthModel):  # type: ignore[misc, name-defined] # loaded by its path
        told = 0

        def learn(self, told: Sequence[Logged]) -> None:
            self.told += len(told)

    server = RankingServer(ServerConfig(registry=Path("unused"), port=0, data=data), lambda _: CountingModel())
    await server.start()
    await server.load()
    pipe.send(server.address)
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop()


if __name__ == "__main__":
    main()
