"""Bundles that are swapped while a server serves: whether a request fails or an answer mixes two, and what it costs.

Three bundles of full size whose trees differ are promoted in turn, so that each swap loads one anew: its trial in a
child process, golden requests, recent requests, probation by the bundle before, all as ``recsys serve`` has it. An open
loop of rankings at a third of what the server answers in a closed one goes on all the while; some quiet seconds before
each swap tell what the swap adds, whatever else the machine does. A call is tried as often as the product's client
tries it, three times at most; how single tries end is told, too. Each answer's scores are then compared, to the bit,
with those of the bundle that it names. Beside it: the same load on a server that is stopped and started again with the
next bundle instead. The ladder is off: an answer on another rung would not show what it mixes.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
from figures import Figure, arguments, console, tell
from grpc import aio
from made_bundle import Scale, make_bundle
from server_process import process
from steady_calls import RANK, Load, Running

from recsys.bundle import GoldenRequest, ManifestDraft, read_bundle
from recsys.pipeline import RankingPipeline
from recsys.registry import Registry
from recsys.schema import Candidate, RankRequest
from serving.admin_client import AdminClient
from serving.config import ServerConfig, default_threads
from serving.convert import request_from_wire, request_to_wire
from serving.logging import configure_logging
from serving.pb import ranking_pb2 as pb
from serving.server import RankingServer

CANDIDATES, REQUESTS, PARALLEL = 100, 128, 8
_SHARE_OF_CAPACITY = 1 / 3
# How long the bundle before is still being freed.
_AFTER_S = 1.0
# Promoting checks the bundle in this process, which sends the load; what that has held up is over by then.
_SETTLED_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How large the bundles are, how many swaps there are, and the seconds before each and for the capacity."""

    scale: Scale
    swaps: int
    before_s: float
    closed_s: float


FULL = Effort(scale=Scale(), swaps=200, before_s=1.0, closed_s=5.0)
QUICK = Effort(scale=Scale(items=5_000, lists=2_000, users=120, fitted_lists=400), swaps=5, before_s=3.0, closed_s=1.0)


def main() -> None:
    """Measure and tell."""
    parser = arguments("Hot swaps under load.")
    parser.add_argument("--swaps", type=int, help="how many swaps")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    swaps = options.swaps or effort.swaps
    with tempfile.TemporaryDirectory() as folder:
        with console.status("making three bundles ..."):
            registry, bundles = made_bundles(Path(folder), effort.scale)
            requests = made_requests(registry.path(bundles[0]))
        figures = swapped(registry, bundles, requests, effort, swaps)
        figures |= restarted(registry, bundles, requests, effort)
    tell(f"hot_swap, {CANDIDATES} candidates, {effort.scale.items:,} items", figures, options.json)


def swapped(
    registry: Registry, bundles: list[str], requests: list[bytes], effort: Effort, swaps: int
) -> dict[str, Figure]:
    """Swap so many times under load."""
    seconds: list[float] = []
    quiet, busy, rollbacks, memory = list[tuple[float, float]](), list[tuple[float, float]](), [], 0
    with process(_serve, registry.directory, 0) as (address, admin_address), AdminClient(admin_address) as admin:
        rate = _SHARE_OF_CAPACITY * asyncio.run(capacity(address, requests, effort.closed_s))
        with Running(address, requests, rate) as running, console.status(f"{swaps} swaps ...") as status:
            for number in range(1, swaps + 1):
                began = time.perf_counter()
                time.sleep(effort.before_s)
                quiet.append((began, time.perf_counter()))
                registry.promote(bundles[number % len(bundles)])
                time.sleep(_SETTLED_S)
                began = time.perf_counter()
                admin.swap(any_order=True)
                swapped_at = time.perf_counter()
                time.sleep(_AFTER_S)
                busy.append((began, time.perf_counter()))
                seconds.append(swapped_at - began)
                memory = max(memory, admin.status().memory_bytes)
                status.update(f"swap {number} of {swaps}, the last one in {seconds[-1]:.1f} s")
            for _ in range(20):
                began = time.perf_counter()
                admin.rollback()
                rollbacks.append(time.perf_counter() - began)
        load = running.load
    before, during = load.p99(quiet), load.p99(busy)
    return {
        "swaps": Figure(value=len(seconds), unit="", says="bundles taken while it served, each loaded anew"),
        "requests": Figure(value=len(load.due), unit="", says=f"sent meanwhile, {rate:.0f} a second"),
        "failed": Figure(
            value=len(load.failed),
            unit="",
            says="of those, three tries at most",
        ),
        "failed_tries": Figure(
            value=len(load.refused), unit="", says=f"before swaps {load.codes(quiet)}, during {load.codes(busy)}"
        ),
        "mixed": Figure(value=mixed(registry, load, requests), unit="", says="not the scores of the bundle named"),
        "p99_before_ms": Figure(value=before, unit="ms", says="a third of capacity, in the seconds before each swap"),
        "p99_during_ms": Figure(
            value=during, unit="ms", says="from the command, 0.3 s after promotion, to a second after"
        ),
        "p99_ratio": Figure(value=during / before, unit="", says="of both"),
        "swap_p50_s": Figure(value=float(np.median(seconds)), unit="s", says="from the command to the swap"),
        "swap_most_s": Figure(value=max(seconds), unit="s", says="the longest"),
        "rollback_p50_ms": Figure(value=1e3 * float(np.median(rollbacks)), unit="ms", says="back to the one before"),
        "memory_most_mib": Figure(value=memory / 2**20, unit="MiB", says="of the server, two or three bundles in it"),
    }


def restarted(registry: Registry, bundles: list[str], requests: list[bytes], effort: Effort) -> dict[str, Figure]:
    """Stop the server under the same load, and start it again with the next bundle."""
    with ExitStack() as first:
        address, _ = first.enter_context(process(_serve, registry.directory, 0))
        rate = _SHARE_OF_CAPACITY * asyncio.run(capacity(address, requests, effort.closed_s))
        with Running(address, requests, rate) as running, console.status("a restart instead ..."):
            time.sleep(1.0)
            registry.promote(bundles[1] if registry.current() != bundles[1] else bundles[0])
            first.close()
            with process(_serve, registry.directory, int(address.rpartition(":")[2])):
                time.sleep(2.0)
                running.stop()
    tries = [moment for moment, _ in running.load.refused]
    return {
        "restart_failed": Figure(
            value=len(running.load.failed), unit="", says="requests of one restart, the plain way"
        ),
        "restart_failed_tries": Figure(value=len(tries), unit="", says="of those, and of others that came through"),
        "restart_gap_s": Figure(value=max(tries, default=0.0) - min(tries, default=0.0), unit="s", says="they span"),
    }


def mixed(registry: Registry, load: Load, requests: list[bytes]) -> int:
    """Count the answers whose scores are not, to the bit, those of the bundle that they name."""
    alone: dict[str, RankingPipeline] = {}
    right: dict[tuple[str, int], dict[str, float]] = {}
    wrong = 0
    for number, reply in load.answers:
        answer = pb.RankResponse.FromString(reply)
        key = (answer.bundle_id, number)
        if key not in right:
            if answer.bundle_id not in alone:
                alone[answer.bundle_id] = RankingPipeline.load(registry.path(answer.bundle_id))
            request = request_from_wire(pb.RankRequest.FromString(requests[number]), now_us=1)
            right[key] = {item.item_id: item.score for item in alone[answer.bundle_id].rank(request).items}
        wrong += {item.item_id: item.score for item in answer.items} != right[key]
    return wrong


async def capacity(address: str, requests: list[bytes], seconds: float) -> float:
    """Return how many calls a second are answered where some are always going."""
    done = 0
    async with aio.insecure_channel(address) as channel:
        rank: Any = channel.unary_unary(RANK)
        end = time.perf_counter() + seconds

        async def ask(number: int) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await rank(requests[number % len(requests)])
                done += 1
                number += PARALLEL

        await asyncio.gather(*map(ask, range(PARALLEL)))
    return done / seconds


def made_bundles(folder: Path, scale: Scale) -> tuple[Registry, list[str]]:
    """Publish a bundle, and two more that have a tree and two trees fewer."""
    source = make_bundle(folder, scale)
    registry, bundle = Registry(folder / "registry"), read_bundle(source)
    draft = ManifestDraft(**{name: getattr(bundle.manifest, name) for name in ManifestDraft.model_fields})
    published = [source.name]
    for fewer in (1, 2):
        trees = lgb.Booster(model_str=bundle.files["ranker.txt"].decode())
        text = trees.model_to_string(num_iteration=scale.trees - fewer).encode()
        files = {**bundle.files, "ranker.txt": text}
        pipeline = RankingPipeline(files, draft, cuda=False)
        golden = tuple(answered(pipeline, case) for case in draft.golden)
        published.append(registry.publish(files, draft.model_copy(update={"golden": golden}), promote=False))
    return registry, published


def answered(pipeline: RankingPipeline, case: GoldenRequest) -> GoldenRequest:
    """Answer a golden request anew."""
    items = pipeline.rank(case.request).items
    return GoldenRequest(
        request=case.request,
        scores={item.item_id: item.score for item in items},
        order=tuple(item.item_id for item in items),
    )


def made_requests(bundle: Path) -> list[bytes]:
    """Make requests of users of the log, each for other candidates, after its end."""
    found = read_bundle(bundle)
    ids = pl.read_parquet(BytesIO(found.files["items.parquet"]), columns=["item_id"])["item_id"].to_list()
    rng = np.random.default_rng(1)
    return [
        request_to_wire(
            RankRequest(
                request_id=f"request-{number}",
                user_id=f"user-{number % 100:03}",
                candidates=tuple(
                    Candidate(item_id=ids[row]) for row in rng.choice(len(ids), CANDIDATES, replace=False)
                ),
                ts=found.manifest.window.last_ts + 60_000_000,
            )
        ).SerializeToString()
        for number in range(REQUESTS)
    ]


async def _serve(pipe: Any, registry: Path, port: int) -> None:
    """Serve as ``recsys serve`` does, its log included; the registry is looked at when it is told to."""
    configure_logging("info")
    threads = default_threads()
    config = ServerConfig(registry=registry, port=port, admin_port=0, threads=threads, swap_poll_s=3_600)
    server = RankingServer(config)
    await server.start()
    await server.load()
    pipe.send((server.address, server.admin_address))
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop()


if __name__ == "__main__":
    main()
