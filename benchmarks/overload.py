"""What a server still answers in time when far more is asked than it can compute; beside the same one without guards.

Open loop: requests are sent when their time comes, whatever became of those before, as a product's visitors do. An
answer counts where it came within the deadline. Capacity is what is answered in a closed loop. Server and callers have
a core each where there are two. The control is the same server that takes everything, and callers whose deadline it
does not hear of; the control of the priorities is the same load where everybody has the same one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, arguments, console, tell
from made_access import Access, make_access
from made_bundle import Scale, make_bundle
from open_loop import Callers, Generator, Seen
from serve_latency import made_requests
from server_process import process

from serving.config import ServerConfig
from serving.logging import configure_logging
from serving.server import RankingServer

DEADLINE_S = 0.25
CANDIDATES = 100
LOADS = (0.5, 0.8, 1, 2, 5, 10)
# Mixed priorities: requests as large as they may be, which are ten times as much work and no more to refuse.
LARGE, LARGE_DEADLINE_S = 1_000, 1.0
MIXED_LOAD, INTERACTIVE = 5, 0.2
# After so long rankings are made of everything again, and a little more.
STEPS_UP_S = 12.0
# Of what a closed loop gets, what callers get who send at random and are nearly never refused: what a server is run at.
RUN_AT = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Seconds of each load, and of the closed loop."""

    seconds: float
    scale: Scale


FULL = Effort(seconds=15.0, scale=Scale())
QUICK = Effort(seconds=2.0, scale=Scale(lists=4_000, users=120, fitted_lists=400))


def main() -> None:
    """Measure and tell."""
    options = arguments("Answers in time under more load than there is capacity for.").parse_args()
    effort = QUICK if options.quick else FULL
    cores = sorted(os.sched_getaffinity(0))
    servers, callers = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    with tempfile.TemporaryDirectory() as folder:
        with console.status("making a bundle: 50,000 items, 300 trees of 63 leaves ..."):
            bundle = make_bundle(Path(folder), effort.scale)
        messages = made_requests(bundle, Path(folder) / "dataset", CANDIDATES)
        with console.status("measuring loads ..."):
            figures = measure(bundle, messages, effort.seconds, servers, callers)
        large = made_requests(bundle, Path(folder) / "dataset", LARGE)
        with console.status("measuring priorities ..."):
            figures |= priorities(bundle, large, effort.seconds, make_access(Path(folder)), (servers, callers))
    where = (
        "server and callers share the machine" if servers is None else f"server on core {servers}, callers on {callers}"
    )
    tell(f"overload, {CANDIDATES} candidates, deadline {DEADLINE_S:g} s, {where}", figures, options.json)


def measure(
    bundle: Path, messages: list[bytes], seconds: float, servers: int | None, callers: int | None
) -> dict[str, Figure]:
    """Put each load on the server as it is, and overloads on what it is compared with."""
    with process(_serve, bundle, {}, servers) as address, Generator(address, messages, core=callers) as generator:
        generator.closed(8, seconds / 2)  # the first rankings of a fresh server are its slowest
        capacity = len(generator.closed(8, seconds)) / seconds
        figures = {"capacity_rps": Figure(value=capacity, unit="1/s", says="closed loop, 8 calls at a time")}
        seen = {}
        for load in LOADS:
            seen[load] = _asked(generator, load * capacity, seconds)
            figures |= _told(f"{load:g}x", seen[load], capacity)
        figures["recovery_s"] = Figure(
            value=recovery(generator, capacity, _p99(seen[RUN_AT].answered), seconds),
            unit="s",
            says=f"after 10 x, until nothing of {RUN_AT:g} x is lost, nor late; on lower rungs at first",
        )
        time.sleep(STEPS_UP_S)
        after = len(generator.closed(8, seconds)) / seconds
        figures["capacity_after_rps"] = Figure(value=after, unit="1/s", says="the same afterwards: the machine's drift")
    base = _p99(seen[RUN_AT].answered)
    figures["p99_ratio_5x"] = Figure(value=_p99(seen[5].answered) / base, unit="x", says=f"to {RUN_AT:g} x")
    figures["p99_ratio_5x_to_1x"] = Figure(
        value=_p99(seen[5].answered) / _p99(seen[1].answered), unit="x", says="to 1 x"
    )
    figures["refused_p99_ms"] = Figure(
        value=max(_p99(seen[load].refused) for load in (2, 5, 10)),
        unit="ms",
        says="until a refusal, the worst of 2, 5, 10 x",
    )
    return figures | without(bundle, messages, seconds, capacity, (servers, callers))


def without(
    bundle: Path, messages: list[bytes], seconds: float, capacity: float, cores: tuple[int | None, int | None]
) -> dict[str, Figure]:
    """Put the overloads on a server that ranks everybody in full, and two of them on one that takes everything."""
    servers, callers = cores
    figures: dict[str, Figure] = {}
    with (
        process(_serve, bundle, {"ladder": False}, servers) as address,
        Generator(address, messages, core=callers) as generator,
    ):
        generator.closed(8, seconds / 2)
        for load in (2, 5, 10):
            found = _asked(generator, load * capacity, seconds)
            figures[f"goodput_{load}x_in_full"] = Figure(
                value=found.goodput_rps / capacity, unit="", says="all rankings made of everything, --no-ladder"
            )
            figures[f"p99_{load}x_in_full_ms"] = Figure(value=_p99(found.answered), unit="ms", says="of those")
    with (
        process(_serve, bundle, {"sheds": False, "default_deadline_s": 60.0}, servers) as address,
        Generator(address, messages, core=callers) as generator,
    ):
        for load in (2, 5):
            found = _asked(generator, load * capacity, seconds, told=False)
            figures[f"goodput_{load}x_without_guards"] = Figure(
                value=found.goodput_rps / capacity, unit="", says="the control"
            )
    return figures


def priorities(
    bundle: Path, messages: list[bytes], seconds: float, access: Access, cores: tuple[int | None, int | None]
) -> dict[str, Figure]:
    """Let interactive callers ask for all that a server is run at, and batch callers for four times as much."""
    servers, callers = cores
    mine, others = ((("authorization", f"Bearer {access.tokens[each]}"),) for each in ("interactive", "batch"))
    with (
        process(_serve, bundle, {**access.settings, "ladder": False}, servers) as address,
        Generator(address, messages, core=callers, ca=access.certificate) as generator,
    ):
        generator.closed(4, seconds / 2, mine)
        capacity = len(generator.closed(4, seconds, mine)) / seconds  # of rankings made of everything
    with (
        process(_serve, bundle, access.settings, servers) as address,
        Generator(address, messages, core=callers, ca=access.certificate) as generator,
    ):
        generator.closed(1, seconds / 2, mine)
        rate = MIXED_LOAD * RUN_AT * capacity

        def success(metadata: Any) -> float:
            time.sleep(STEPS_UP_S)
            shares = ((INTERACTIVE, mine), (1 - INTERACTIVE, metadata))
            mixed = [Callers(rate=share * rate, deadline_s=LARGE_DEADLINE_S, metadata=who) for share, who in shares]
            found = generator.open(mixed, 2 * seconds)
            full = found[0].full / max(1, len(found[0].answered))
            says = f"interactive {dict(found[0].ends)}, {full:.0%} made of everything, others {dict(found[1].ends)}"
            console.print(f"{LARGE} candidates: {says}")
            return found[0].success

        of = f"{INTERACTIVE:.0%} of {MIXED_LOAD} x {RUN_AT:g} of the capacity, {LARGE} candidates"
        return {
            "capacity_large_rps": Figure(value=capacity, unit="1/s", says=f"{LARGE} candidates, TLS and tokens"),
            "interactive_success_5x": Figure(value=success(others), unit="", says=of),
            "interactive_success_5x_control": Figure(value=success(mine), unit="", says="where all have one priority"),
        }


def recovery(generator: Generator, capacity: float, base_ms: float, seconds: float) -> float:
    """Ask ten times too much, then what the server is run at; seconds until half a second is as before."""
    _asked(generator, 10 * capacity, seconds)
    began = time.perf_counter()
    while True:
        since = time.perf_counter() - began
        found = _asked(generator, RUN_AT * capacity, 0.5)
        if (set(found.ends) == {"OK"} and float(np.median(found.answered)) <= base_ms) or since > 60:
            return since


def _asked(generator: Generator, rate: float, seconds: float, *, told: bool = True) -> Seen:
    return generator.open([Callers(rate=rate, deadline_s=DEADLINE_S, told=told)], seconds)[0]


def _told(name: str, seen: Seen, capacity: float) -> dict[str, Figure]:
    sent = f"sent {seen.sent_rps:,.0f}/s, 99 % at most {_p99(seen.behind_ms):.1f} ms late"
    full = seen.full / max(1, len(seen.answered))
    console.print(f"{name}: {sent}; {dict(seen.ends)}, {full:.0%} of the answers made of everything")
    return {
        f"full_{name}": Figure(value=full, unit="", says="share of the answers made of everything", shown=full < 1),
        f"goodput_{name}": Figure(
            value=seen.goodput_rps / capacity, unit="", says=f"answers in time, of capacity; {sent}"
        ),
        f"p99_{name}_ms": Figure(value=_p99(seen.answered), unit="ms", says="of those"),
        f"refused_{name}_p99_ms": Figure(value=_p99(seen.refused), unit="ms", says="until a refusal", shown=False),
    }


def _p99(milliseconds: list[float]) -> float:
    return float(np.percentile(milliseconds, 99)) if milliseconds else float("nan")


async def _serve(pipe: Any, bundle: Path, settings: dict[str, Any], core: int | None) -> None:
    """Serve as ``recsys serve`` does, its log and its ladder included."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    configure_logging("info")
    server = RankingServer(ServerConfig(registry=bundle, port=0, **{"ladder": True, **settings}))
    server.give_way()
    await server.start()
    await server.load()
    pipe.send(server.address)
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop()


if __name__ == "__main__":
    main()
