"""Whatever is sent, it is answered or refused, nobody else is harmed, and nothing of it comes out elsewhere.

Some thousands of messages inside this process and over the wire; `make fuzz` sets FUZZ_MESSAGES to a million and
FUZZ_WIRE to a hundred thousand. FUZZ_SEED repeats a run, FUZZ_FIRST begins it at a later message.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.config import ServerConfig
from serving.load import load_current
from serving.server import RankingServer

MOST_GROWTH_MIB = 50


@dataclass(frozen=True)
class Run:
    """The messages of a seed, from a number on."""

    variable: str
    count: int
    seed: int
    first: int = 0

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.count)

    def __str__(self) -> str:
        return (
            f"FUZZ_SEED={self.seed} FUZZ_FIRST={self.first} {self.variable}={self.count} pytest tests/load/test_fuzz.py"
        )


def run_of(variable: str, count: int) -> Run:
    """Return a run of the short profile's own messages, or of so many others as the environment says."""
    fresh = random.SystemRandom().randrange(1, 2**31) if variable in os.environ else 1
    seed = int(os.environ.get("FUZZ_SEED", "0")) or fresh
    return Run(variable, int(os.environ.get(variable, count)), seed, int(os.environ.get("FUZZ_FIRST", "0")))


@pytest.fixture
def server(tiny_registry: Path, tmp_path: Path) -> RankingServer:
    """A server of the tiny bundle that keeps events, refuses nobody for lack of time, and tells all that it can."""
    config = ServerConfig(
        registry=tiny_registry, data=tmp_path / "live", port=0, admin_port=0, metrics_port=0, threads=2,
        default_deadline_s=60, most_deadline_s=600, slow_ms=1,
    )  # fmt: skip
    return RankingServer(config, load_current)


def check_that_it_looked(run: Run, findings: Any) -> None:
    """A good part gets through, a good part is refused, and the log is written and heard."""
    assert sum(findings.codes.values()) == run.count
    if run.count >= 1_000:
        assert findings.codes["OK"] > run.count / 5, findings.codes
        assert findings.codes["INVALID_ARGUMENT"] > run.count / 10, findings.codes
        assert findings.lines > run.count / 2


@pytest.mark.slow
def test_inside_the_process(server: Any, beside: Any, known: Any, say: Callable[[str], None]) -> None:
    run = run_of("FUZZ_MESSAGES", 4_000)
    fuzz = beside("inside").Fuzz(run, beside, known)
    fuzz.run(server, say)
    say(f"{run}: {dict(fuzz.findings.codes)}, {fuzz.watch.growth_mib:+.1f} MiB after the first fifth")

    assert fuzz.findings.found == [], str(run)
    check_that_it_looked(run, fuzz.findings)
    assert fuzz.watch.growth_mib <= MOST_GROWTH_MIB, str(run)


@pytest.mark.slow
def test_over_the_wire(
    tiny_registry: Path, tmp_path: Path, beside: Any, known: Any, say: Callable[[str], None]
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="traces need the extra: pip install 'recsys[otel]'")
    run, wire = run_of("FUZZ_WIRE", 2_000), beside("wire")
    findings = beside("leaks").Findings(beside("messages").CANARY)
    with (
        wire.collecting(findings) as (collector, endpoint),
        beside("served").served(tiny_registry, tmp_path, otlp_endpoint=endpoint, slow_ms=1) as server,
    ):
        fuzz = wire.Fuzz(run, server, findings, beside, known)
        asyncio.run(fuzz.run(say))
        ended = server.stop()
        wire.look_through(server.log, findings)
    done = f"{dict(findings.codes)}, {fuzz.steady:,} of others"
    say(f"{run}: {done}, {fuzz.watch.growth_mib:+.1f} MiB after the first fifth")

    assert findings.found == [], str(run)
    assert ended == 0
    check_that_it_looked(run, findings)
    assert fuzz.steady > 10
    assert collector.spans > run.count / 10
    assert fuzz.watch.growth_mib <= MOST_GROWTH_MIB, str(run)
