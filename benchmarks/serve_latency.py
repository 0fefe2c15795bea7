"""How long a ranking takes, end to end over gRPC on this machine, and how many can be had a second.

The server is the product's own, in a process of its own, with a bundle of full size: 50,000 items, histories of 48, 300
trees of 63 leaves (or any bundle, by ``--bundle``), and all that production has switched on: TLS, tokens, the event
log, receipts and drift of one in a hundred, metrics, the log. Requests are in columns. Beside it stand the same server
with an open door, requests in the readable form, both servers without models, and the floor: a bare gRPC server that
sends back as many bytes as a ranking has. All of them are asked in turn, some calls each, so that what the machine does
at a moment concerns all.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from figures import Figure, arguments, console, tell
from latency_servers import RANK, echo, serve, serve_without_models
from made_bundle import Scale, make_bundle
from production import OPEN, Production, in_production
from server_process import process

from recsys.bundle import read_bundle
from recsys.dataset import read_dataset
from recsys.registry import resolve
from recsys.schema import Candidate, RankRequest
from serving.config import default_threads
from serving.convert import request_to_wire
from serving.pb import ranking_pb2 as pb

SIZES = (100, 1_000)
PARALLEL = (8, 16)
REQUESTS = 256  # different ones, asked in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is asked: calls one by one per number of candidates, in ``rounds``, and seconds of parallel calls."""

    calls: dict[int, int]
    seconds: float
    rounds: int


FULL = Effort(calls={100: 2_000, 1_000: 600}, seconds=15.0, rounds=10)
QUICK = Effort(calls={100: 300, 1_000: 100}, seconds=3.0, rounds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Calls of one kind, what each took in milliseconds, and their answers; ``says`` what is particular to the kind."""

    address: str
    messages: list[bytes]
    says: str
    door: Production = OPEN
    milliseconds: list[float] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)

    def p(self, share: float) -> Figure:
        """Return the milliseconds that a share of the calls, in percent, took at most."""
        return Figure(value=float(np.percentile(self.milliseconds, share)), unit="ms", says=self.says)

    def ask(self, calls: int) -> None:
        """Ask once more."""
        milliseconds, replies = one_by_one(self.address, self.messages, calls, self.door)
        self.milliseconds.extend(milliseconds)
        self.replies.extend(replies)


def main() -> None:
    """Measure and tell."""
    parser = arguments("Latency and throughput of the ranking service.")
    parser.add_argument("--bundle", type=Path, help="a bundle or a registry to serve, instead of a made one")
    parser.add_argument("--dataset", type=Path, help="the dataset that it was trained on, for its users")
    parser.add_argument("--threads", type=int, default=default_threads(), help="threads that rank")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        bundle, dataset = options.bundle, options.dataset
        if (bundle is None) != (dataset is None):
            parser.error("--bundle and --dataset belong together: the requests are of the dataset's users")
        if bundle is None:
            with console.status("making a bundle: 50,000 items, 300 trees of 63 leaves ..."):
                # Fewer lists to fit the trees to leave them as deep: it is noise that they fit.
                scale = Scale(lists=4_000, users=120, fitted_lists=400) if options.quick else Scale()
                bundle, dataset = make_bundle(Path(folder), scale), Path(folder) / "dataset"
        requests = {size: made_requests(bundle, dataset, size, columns=True) for size in SIZES}
        readable = {size: made_requests(bundle, dataset, size) for size in SIZES}
        guarded = in_production(Path(folder) / "production")
        bare = in_production(Path(folder) / "bare")
        with (
            process(serve, bundle, options.threads, guarded.settings) as closed,
            process(serve, bundle, options.threads, OPEN.settings) as opened,
            process(serve_without_models, bundle, options.threads, bare.settings) as without,
            process(serve_without_models, bundle, options.threads, OPEN.settings) as open_without,
        ):
            # The longest message of each size, and an answer to it, shortest first.
            answers = sorted(
                (max(map(len, messages)), one_by_one(opened, messages, 1)[1][0]) for messages in requests.values()
            )
            with console.status("measuring ..."), process(echo, answers, settled=False) as floor:
                servers = Servers(closed, opened, without, open_without, floor)
                figures = measure(servers, requests, readable, effort, guarded, bare)
    tell(f"serve_latency, {options.threads} threads", figures, options.json)


class Servers(NamedTuple):
    """Addresses: of ours with everything on, and with an open door; of both without models; of the one that echoes."""

    closed: str
    opened: str
    without: str
    open_without: str
    echo: str


def made_requests(bundle: Path, dataset: Path, candidates: int, *, columns: bool = False) -> list[bytes]:
    """Make requests of users with long histories, each for other candidates, after the end of the log."""
    found = read_bundle(resolve(bundle))
    clicks = pl.col("clicked").list.sum().sum()
    impressions = read_dataset(dataset).impressions
    users = impressions.group_by("user_id").agg(clicks).sort("clicked", "user_id", descending=True)
    user_ids = users["user_id"].head(REQUESTS).to_list()
    item_ids = pl.read_parquet(BytesIO(found.files["items.parquet"]), columns=["item_id"])["item_id"].to_list()
    if len(item_ids) < candidates:
        raise SystemExit(f"the bundle knows {len(item_ids)} items; serve_latency ranks {candidates} of them at a time")
    rng = np.random.default_rng(candidates)
    requests = []
    for place in range(REQUESTS):
        drawn = rng.choice(len(item_ids), candidates, replace=False)
        asked = RankRequest(
            request_id=f"request-{place}",
            user_id=user_ids[place % len(user_ids)],
            candidates=tuple(Candidate(item_id=item_ids[row]) for row in drawn),
            ts=found.manifest.window.last_ts + 60_000_000 * (place + 1),
        )
        requests.append(request_to_wire(asked, columns=columns).SerializeToString())
    return requests


def measure(
    servers: Servers,
    requests: dict[int, list[bytes]],
    readable: dict[int, list[bytes]],
    effort: Effort,
    door: Production,
    bare: Production,
) -> dict[str, Figure]:
    """Ask each server one by one, in turn, and then in parallel; ``bare`` is the door of the one without models."""
    asked: dict[str, dict[int, Asked]] = {
        "": {}, "readable_": {}, "open_": {}, "without_models": {}, "open_without_models": {}, "echo": {}
    }  # fmt: skip
    for size in SIZES:
        asked[""][size] = Asked(
            address=servers.closed,
            messages=requests[size],
            door=door,
            says="everything on, columns, one call at a time",
        )
        asked["readable_"][size] = Asked(
            address=servers.closed, messages=readable[size], door=door, says="candidates and places as messages"
        )
        asked["open_"][size] = Asked(address=servers.opened, messages=requests[size], says="without TLS and tokens")
        asked["without_models"][size] = Asked(
            address=servers.without, messages=requests[size], door=bare, says="everything on but the models"
        )
        asked["open_without_models"][size] = Asked(
            address=servers.open_without, messages=requests[size], says="neither models nor TLS and tokens"
        )
        asked["echo"][size] = Asked(
            address=servers.echo, messages=requests[size], says=f"bare gRPC, messages of {size} candidates"
        )
    for _ in range(effort.rounds):
        for kind in asked.values():
            for size, one in kind.items():
                one.ask(effort.calls[size] // effort.rounds)
    figures: dict[str, Figure] = {}
    for size, one in asked[""].items():
        figures |= {f"rank_{size}_p{share}_ms": one.p(share) for share in (50, 99)}
        for stage, median in stages(one.milliseconds, one.replies).items():
            says = "of it, on the wire and in conversion" if stage == "outside" else f"of it, the stage {stage}"
            figures[f"rank_{size}_{stage}_p50_ms"] = Figure(value=median, unit="ms", says=says)
    for name in ("readable_", "open_"):
        figures |= {f"{name}rank_{size}_p50_ms": one.p(50) for size, one in asked[name].items()}
    figures |= {"echo_p50_ms": asked["echo"][100].p(50), "echo_1000_p50_ms": asked["echo"][1_000].p(50)}
    figures |= overheads(asked, figures)
    return figures | together(servers, requests[100], effort.seconds, door)


def overheads(asked: dict[str, dict[int, Asked]], seen: dict[str, Figure]) -> dict[str, Figure]:
    """Return what a ranking of 100 costs beside the models, in milliseconds, and to the echo."""
    figures: dict[str, Figure] = {}
    echo_ms = asked["echo"][100].p(50).value
    for name in ("without_models", "open_without_models"):
        one = asked[name][100]
        figures[f"{name}_p50_ms"] = one.p(50)
        figures[f"{name}_ratio"] = Figure(value=one.p(50).value / echo_ms, unit="x", says=f"{one.says}, to bare gRPC")
    outside = seen["rank_100_outside_p50_ms"].value + seen["rank_100_queue_p50_ms"].value
    figures["overhead_ratio"] = Figure(
        value=outside / echo_ms, unit="x", says="all but the models, to bare gRPC without TLS"
    )
    opened = stages(asked["open_"][100].milliseconds, asked["open_"][100].replies)
    figures["open_overhead_ratio"] = Figure(
        value=(opened["outside"] + opened["queue"]) / echo_ms,
        unit="x",
        says="the same without TLS and tokens, as bare gRPC is",
    )
    return figures


def together(servers: Servers, messages: list[bytes], seconds: float, door: Production) -> dict[str, Figure]:
    """Ask each server in parallel."""
    figures: dict[str, Figure] = {}
    rates = {each: asyncio.run(in_parallel(servers.closed, messages, each, seconds, door)) for each in PARALLEL}
    best = max(rates, key=lambda parallel: len(rates[parallel]))
    for parallel, milliseconds in rates.items():
        name = f"rps_100_at_{parallel}"
        figures[name] = Figure(value=len(milliseconds) / seconds, unit="1/s", says=f"{parallel} calls at a time")
    figures["rps_100"] = Figure(value=len(rates[best]) / seconds, unit="1/s", says="the best of these")
    p99 = float(np.percentile(rates[best], 99))
    figures["p99_100_ms"] = Figure(value=p99, unit="ms", says=f"under that load, {best} calls at a time")
    for name, address, says in (
        ("open_rps_100", servers.opened, "without TLS and tokens"),
        ("echo_rps", servers.echo, "bare gRPC"),
    ):
        found = asyncio.run(in_parallel(address, messages, PARALLEL[-1], seconds))
        figures[name] = Figure(value=len(found) / seconds, unit="1/s", says=f"{says}, {PARALLEL[-1]} at a time")
    return figures


def one_by_one(
    address: str, messages: list[bytes], calls: int, door: Production = OPEN
) -> tuple[list[float], list[bytes]]:
    """Call ``calls`` times after a warm-up; milliseconds and answers of each, the answers not parsed."""
    milliseconds, replies = [], []
    with door.channel(address) as channel:
        call: Callable[..., bytes] = channel.unary_unary(RANK)
        for place in range(-min(calls // 4, 100), calls):
            began = time.perf_counter()
            reply = call(messages[place % len(messages)], metadata=door.metadata)
            took = time.perf_counter() - began
            if place >= 0:
                milliseconds.append(1e3 * took)
                replies.append(reply)
    return milliseconds, replies


async def in_parallel(
    address: str, messages: list[bytes], parallel: int, seconds: float, door: Production = OPEN
) -> list[float]:
    """Keep so many calls going after a second of warm-up; the milliseconds of each that ended in time."""
    found: list[float] = []
    async with door.aio_channel(address) as channel:
        call: Any = channel.unary_unary(RANK)
        begin = time.perf_counter() + 1.0
        end = begin + seconds

        async def ask(first: int) -> None:
            place = first
            while (began := time.perf_counter()) < end:
                await call(messages[place % len(messages)], metadata=door.metadata)
                now = time.perf_counter()
                if begin <= now < end:
                    found.append(1e3 * (now - began))
                place += parallel

        await asyncio.gather(*(ask(first) for first in range(parallel)))
    return found


def stages(milliseconds: list[float], replies: list[bytes]) -> dict[str, float]:
    """Return the median milliseconds of each stage, as the answers tell them, and of what is outside of all of them."""
    told = [dict(pb.RankResponse.FromString(reply).stage_seconds) for reply in replies]
    medians = {name: 1e3 * float(np.median([one[name] for one in told])) for name in sorted(told[0])}
    outside = [took - 1e3 * sum(one.values()) for took, one in zip(milliseconds, told, strict=True)]
    return {**medians, "outside": float(np.median(outside))}


if __name__ == "__main__":
    main()
