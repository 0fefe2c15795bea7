"""How long a ranking takes, end to end over gRPC on this machine, and how many can be had a second.

The server is the product's own, in a process of its own, with a bundle of full size: 50,000 items, histories of 48, 300
trees of 63 leaves (or any bundle, by ``--bundle``), and all that production has switched on: TLS, tokens, the event
log, receipts and drift of one in a hundred, metrics, the log. Requests are in columns. Beside it stand the same server
with an open door, requests in the readable form, and the floor: a bare gRPC server that sends back as many bytes as a
ranking has.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
from figures import Figure, arguments, console, tell
from grpc import aio
from made_bundle import Scale, make_bundle
from production import OPEN, Production, in_production
from server_process import process

from recsys.bundle import read_bundle
from recsys.dataset import read_dataset
from recsys.registry import resolve
from recsys.schema import Candidate, RankRequest
from serving.config import ServerConfig, default_threads
from serving.convert import request_to_wire
from serving.logging import configure_logging
from serving.pb import ranking_pb2 as pb
from serving.server import RankingServer

RANK = "/recsys.v1.RankingService/Rank"
SIZES = (100, 1_000)
PARALLEL = (8, 16)
REQUESTS = 256  # different ones, asked in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is asked: calls one by one per number of candidates, and seconds of parallel calls."""

    calls: dict[int, int]
    seconds: float


FULL = Effort(calls={100: 2_000, 1_000: 600}, seconds=15.0)
QUICK = Effort(calls={100: 300, 1_000: 100}, seconds=3.0)


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
        with (
            console.status("measuring the service ..."),
            process(serve, bundle, options.threads, guarded.settings) as address,
        ):
            figures, answers = measure(address, requests, effort, guarded)
            figures |= plain("readable", address, readable, effort, guarded)
        with (
            console.status("measuring it with an open door ..."),
            process(serve, bundle, options.threads, OPEN.settings) as address,
        ):
            figures |= plain("open", address, requests, effort, OPEN)
            rates = asyncio.run(in_parallel(address, requests[100], PARALLEL[-1], effort.seconds))
            figures["open_rps_100"] = Figure(
                value=len(rates) / effort.seconds, unit="1/s", says=f"without TLS and tokens, {PARALLEL[-1]} at a time"
            )
        by_length = sorted((max(map(len, requests[size])), reply) for size, reply in answers.items())
        with console.status("measuring the floor ..."), process(_echo, by_length, settled=False) as address:
            figures |= floor(address, requests, effort)
        outside = figures["rank_100_outside_p50_ms"].value + figures["rank_100_queue_p50_ms"].value
        figures["overhead_ratio"] = Figure(
            value=outside / figures["echo_p50_ms"].value, unit="x", says="all but the models, to bare gRPC without TLS"
        )
    tell(f"serve_latency, {options.threads} threads", figures, options.json)


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
    address: str, requests: dict[int, list[bytes]], effort: Effort, door: Production
) -> tuple[dict[str, Figure], dict[int, bytes]]:
    """Ask the service: one by one with stages, then in parallel; also returns an answer per number of candidates."""
    figures: dict[str, Figure] = {}
    answers: dict[int, bytes] = {}
    for size, messages in requests.items():
        milliseconds, replies = one_by_one(address, messages, effort.calls[size], door)
        answers[size] = replies[0]
        for share in (50, 99):
            name = f"rank_{size}_p{share}_ms"
            figures[name] = Figure(
                value=float(np.percentile(milliseconds, share)), unit="ms", says="one call at a time"
            )
        for stage, median in stages(milliseconds, replies).items():
            says = "of it, on the wire and in conversion" if stage == "outside" else f"of it, the stage {stage}"
            figures[f"rank_{size}_{stage}_p50_ms"] = Figure(value=median, unit="ms", says=says)
    rates = {
        parallel: asyncio.run(in_parallel(address, requests[100], parallel, effort.seconds, door))
        for parallel in PARALLEL
    }
    best = max(rates, key=lambda parallel: len(rates[parallel]))
    for parallel, milliseconds in rates.items():
        name = f"rps_100_at_{parallel}"
        figures[name] = Figure(value=len(milliseconds) / effort.seconds, unit="1/s", says=f"{parallel} calls at a time")
    figures["rps_100"] = Figure(value=len(rates[best]) / effort.seconds, unit="1/s", says="the best of these")
    p99 = float(np.percentile(rates[best], 99))
    figures["p99_100_ms"] = Figure(value=p99, unit="ms", says=f"under that load, {best} calls at a time")
    return figures, answers


def plain(
    name: str, address: str, requests: dict[int, list[bytes]], effort: Effort, door: Production
) -> dict[str, Figure]:
    """Ask one by one, and return the medians alone."""
    says = {"readable": "candidates and places as messages, one by one", "open": "without TLS and tokens"}[name]
    return {
        f"{name}_rank_{size}_p50_ms": Figure(
            value=float(np.percentile(one_by_one(address, messages, effort.calls[size], door)[0], 50)),
            unit="ms",
            says=says,
        )
        for size, messages in requests.items()
    }


def floor(address: str, requests: dict[int, list[bytes]], effort: Effort) -> dict[str, Figure]:
    """Ask the bare server with the same messages."""
    figures = {}
    for size, name in ((100, "echo_p50_ms"), (1_000, "echo_1000_p50_ms")):
        milliseconds, _ = one_by_one(address, requests[size], effort.calls[size])
        value = float(np.percentile(milliseconds, 50))
        figures[name] = Figure(value=value, unit="ms", says=f"bare gRPC, messages of {size} candidates")
    found = asyncio.run(in_parallel(address, requests[100], PARALLEL[-1], effort.seconds))
    rate = len(found) / effort.seconds
    figures["echo_rps"] = Figure(value=rate, unit="1/s", says=f"bare gRPC, {PARALLEL[-1]} calls at a time")
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


async def serve(pipe: Any, bundle: Path, threads: int, settings: Mapping[str, Any] | None = None) -> None:
    """Serve as ``recsys serve`` does, its log included."""
    configure_logging("info")
    server = RankingServer(ServerConfig(registry=bundle, port=0, threads=threads, **(settings or {})))
    await server.start()
    await server.load()
    pipe.send(server.address)
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop()


async def _echo(pipe: Any, by_length: list[tuple[int, bytes]]) -> None:
    """Answer every call with the bytes of a ranking of like size, and do nothing else.

    ``by_length`` holds the longest message of each size and the answer to it, shortest first.
    """

    async def rank(message: bytes, _: Any) -> bytes:
        return next(reply for longest, reply in by_length if len(message) <= longest)

    server = aio.server()
    handler = grpc.unary_unary_rpc_method_handler(rank)
    service, method = RANK.strip("/").split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop(None)


if __name__ == "__main__":
    main()
