"""What watching costs a ranking: every metric of one Rank call, without the call itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from figures import Figure, arguments, tell

from recsys.schema import RankedItem, Ranking
from serving.config import ServerConfig
from serving.interceptors import Interceptors
from serving.telemetry.calls import CallsInterceptor
from serving.telemetry.drift_watch import DriftWatch
from serving.telemetry.telemetry import Telemetry

RANKING = Ranking(
    request_id="r-1",
    bundle_id="b-1",
    items=tuple(RankedItem(item_id=f"item-{n}", score=2.0 - n / 50, click_probability=0.1) for n in range(100)),
    text_coverage=0.97,
    unknown_items=("new-1", "new-2"),
    items_without_text=("item-3",),
    unknown_user=True,
    stage_seconds={"queue": 2e-5, "features": 3e-4, "text": 4e-4, "ranker": 7e-4},
)


class Context:
    """What the watch asks of gRPC where a call was answered: nothing."""

    def code(self) -> None:
        """Tell no code."""


class Details:
    """What gRPC tells of a call."""

    method = "/recsys.v1.RankingService/Rank"
    invocation_metadata = (("user-agent", "grpc"),)


async def nothing(_data: bytes, _context: Any) -> None:
    """Answer at once."""


async def microseconds(call: Callable[[], Awaitable[Any]], times: int) -> float:
    """Return the processor time that a call takes, the best of seven rounds."""
    rounds = []
    for _ in range(7):
        began = time.process_time()  # not the clock's: others may want the core too
        for _ in range(times):
            await call()
        rounds.append((time.process_time() - began) / times * 1e6)
    return min(rounds)


async def measure(times: int) -> dict[str, Figure]:
    """Watch calls that nobody answers."""
    telemetry = Telemetry(ServerConfig(registry=Path("unused")))
    interceptor = Interceptors(CallsInterceptor(telemetry.calls, "recsys.v1.RankingService"))
    handler, details, context = grpc.unary_unary_rpc_method_handler(nothing), Details(), Context()
    sampler = DriftWatch(["a"], ["a"], 0.01, reference=1)

    async def found(_details: Any) -> Any:
        return handler

    async def plain() -> None:
        await (await found(details)).unary_unary(b"", context)

    async def watched() -> None:
        await (await interceptor.intercept_service(found, details)).unary_unary(b"", context)
        sampler.wants(RANKING.request_id)
        telemetry.ranked(RANKING, request_id="r", candidates=100, seconds=0.0016)

    floor, cost = await microseconds(plain, times), await microseconds(watched, times)
    return {
        "call_watched_us": Figure(value=cost - floor, unit="µs", says="added to one Rank call by all that watches it"),
        "call_plain_us": Figure(
            value=floor, unit="µs", says="the floor: the same call, answered and watched by nobody"
        ),
    }


def main() -> None:
    """Measure and tell."""
    options = arguments("What watching costs a ranking.").parse_args()
    tell("telemetry_cost", asyncio.run(measure(2_000 if options.quick else 20_000)), options.json)


if __name__ == "__main__":
    main()
