"""Whether a live server scores what its logs say it should have known, and what it costs to be able to check.

The server is the product's own, in a process of its own, and leaves a receipt of every ranking. Several callers rank at
once; after each ranking they tell what was shown and what was clicked, and sometimes an older event, so that every
ranking meets another state. Then every receipt's table is computed anew from the raw logs. Beside it stands the time of
a ranking without receipts, with those of a hundredth, and with all of them, asked in turn.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
from figures import Figure, arguments, console, tell
from made_bundle import Scale, make_bundle
from server_process import process

from recsys.bundle import read_bundle
from recsys.events import Click, Event, Impression, Interaction, time_ordered_id
from recsys.schema import Candidate, Item, ItemText, RankRequest
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.convert import request_to_wire
from serving.logging import configure_logging
from serving.receipt_audit import Audit, audit
from serving.server import RankingServer

RANK = "/recsys.v1.RankingService/Rank"
SHARES = {"off": 0.0, "1_percent": 0.01, "all": 1.0}
CALLERS = 4
SHOWN = 20
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many receipts are made and audited, and how many rankings are timed."""

    receipts: int
    calls: int
    scale: Scale


FULL = Effort(receipts=10_200, calls=1_000, scale=Scale(items=20_000, lists=6_000, fitted_lists=600))
QUICK = Effort(
    receipts=300, calls=200, scale=Scale(items=5_000, lists=2_000, users=120, fitted_lists=300, trees=100, leaves=31)
)


def main() -> None:
    """Measure and tell."""
    parser = arguments("Whether receipts hold what the logs say, and what they cost.")
    parser.add_argument("--store", default="", help="where servers share their state, such as redis://127.0.0.1:6379")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with console.status("making a bundle ..."):
            bundle = make_bundle(folder, effort.scale)
        data = folder / "live"
        with console.status("ranking and telling ..."), process(_serve, bundle, data, 1.0, options.store) as address:
            seconds = traffic(address, bundle, effort.receipts)
        with console.status("auditing ..."):
            began = time.perf_counter()
            found = audit(data, lambda _: bundle)
            took = time.perf_counter() - began
        figures = told(found, effort.receipts / seconds, took)
        with console.status("timing ..."):
            figures |= timed(bundle, folder, effort.calls, options.store)
    tell("receipts_audit", figures, options.json)
    for each in found.mismatches:
        print(f"{each.feature}: {each.count} of {each.of}, by up to {each.largest}, first in {each.first}")
    if not found.passed:
        raise SystemExit(1)


def told(found: Audit, rankings_per_s: float, took: float) -> dict[str, Figure]:
    """Put what the audit found into figures."""
    wrong = sum(each.count for each in found.mismatches)
    left_out = "; ".join(f"{count} {reason}" for reason, count in found.left_out.items()) or "none left out"
    return {
        "receipts": Figure(value=found.receipts, unit="", says=f"audited; {left_out}"),
        "values": Figure(value=found.values, unit="", says="figures compared"),
        "mismatches": Figure(
            value=wrong, unit="", says=f"of them scored otherwise, in {len(found.mismatches)} columns"
        ),
        "audited_per_s": Figure(value=found.receipts / took, unit="1/s", says="receipts, one process"),
        "rankings_per_s": Figure(value=rankings_per_s, unit="1/s", says="while events came in, each with a receipt"),
    }


def item_ids(bundle: Path) -> list[str]:
    """Return the ids of a bundle's items."""
    table = BytesIO(read_bundle(bundle).files["items.parquet"])
    return pl.read_parquet(table, columns=["item_id"])["item_id"].to_list()


def traffic(address: str, bundle: Path, rankings: int) -> float:
    """Rank, and tell what followed, from several callers at once; returns the seconds it took."""
    ids = item_ids(bundle)
    began = time.perf_counter()
    with RankingClient(address, deadline_s=60) as client, ThreadPoolExecutor(CALLERS) as threads:
        list(threads.map(lambda number: _call(client, ids, rankings // CALLERS, number), range(CALLERS)))
    return time.perf_counter() - began


def _call(client: RankingClient, ids: Sequence[str], rankings: int, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(rankings):
        user, now_us = f"user-{rng.randrange(300)}", time.time_ns() // 1_000
        ranking = client.rank_request(
            RankRequest(
                request_id=f"request-{seed}-{number}",
                user_id=user,
                candidates=tuple(Candidate(item_id=item_id) for item_id in rng.sample(ids[-500:], SHOWN)),
                ts=now_us,
                surface=rng.choice(["", "home", "search"]),
            )
        )
        shown = tuple(item.item_id for item in ranking.items)
        client.record(_followed(rng, f"{seed}-{number}", user, shown))
        if seed == 0 and number % 50 == 49:
            changed = rng.choice(ids[-500:])
            client.upsert_items([Item(item_id=changed, text=ItemText(title=f"Another title {number}", category="New"))])


def _followed(rng: random.Random, name: str, user: str, shown: tuple[str, ...]) -> list[Event]:
    now_us = time.time_ns() // 1_000
    request_id = f"request-{name}"
    events: list[Event] = [
        Impression(event_id=time_ordered_id(now_us), request_id=request_id, user_id=user, ts=now_us, item_ids=shown)
    ]
    if rng.random() < 0.6:
        clicked = shown[int(len(shown) * rng.random() ** 2)]
        events.append(Click(event_id=time_ordered_id(now_us), request_id=request_id, item_id=clicked, ts=now_us))
    if rng.random() < 0.3:  # told late
        ts = now_us - rng.randrange(48) * HOUR_US
        events.append(
            Interaction(event_id=time_ordered_id(now_us), user_id=user, item_id=rng.choice(shown), type="cart", ts=ts)
        )
    rng.shuffle(events)
    return events


def timed(bundle: Path, folder: Path, calls: int, store: str) -> dict[str, Figure]:
    """Rank 100 candidates by servers with different shares of receipts, in turn."""
    ids, rng = item_ids(bundle), random.Random(0)
    milliseconds: dict[str, list[float]] = {name: [] for name in SHARES}
    with ExitStack() as stack:
        call: dict[str, Callable[[bytes], bytes]] = {}
        for name, share in SHARES.items():
            address = stack.enter_context(process(_serve, bundle, folder / f"timed-{name}", share, store))
            call[name] = stack.enter_context(grpc.insecure_channel(address)).unary_unary(RANK)
        for place in range(-20, calls):
            request = RankRequest(
                request_id=time_ordered_id(time.time_ns() // 1_000),
                user_id=f"user-{place % 300}",
                candidates=tuple(Candidate(item_id=item_id) for item_id in rng.sample(ids, 100)),
                ts=time.time_ns() // 1_000,
            )
            message = request_to_wire(request).SerializeToString()
            for name in rng.sample(sorted(SHARES), len(SHARES)):
                began = time.perf_counter()
                call[name](message)
                if place >= 0:
                    milliseconds[name].append(1e3 * (time.perf_counter() - began))
    return {
        f"rank_100_{name}_p{share}_ms": Figure(
            value=float(np.percentile(milliseconds[name], share)), unit="ms", says=f"receipts: {name.replace('_', ' ')}"
        )
        for name in SHARES
        for share in (50, 99)
    }


async def _serve(pipe: Any, bundle: Path, data: Path, receipts: float, store: str) -> None:
    """Serve as ``recsys serve`` does."""
    configure_logging("warning")
    shared = {"store": store} if store else {}
    server = RankingServer(ServerConfig(registry=bundle, port=0, threads=2, data=data, receipts=receipts, **shared))
    await server.start()
    await server.load()
    pipe.send(server.address)
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop()


if __name__ == "__main__":
    main()
