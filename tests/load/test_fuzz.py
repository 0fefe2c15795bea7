"""A million random messages inside the process: each is answered or refused, and nothing of them comes out elsewhere.

Some thousands here; `make fuzz` sets FUZZ_MESSAGES. FUZZ_SEED and FUZZ_FIRST repeat a run from a message on.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from serving.config import ServerConfig
from serving.load import load_current
from serving.pb import ranking_pb2 as pb
from serving.server import RankingServer

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "4000"))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)

# How many are asked at a time; the events of those that are share a commit.
TOGETHER = 16
MOST_GROWTH_MIB = 50


@pytest.fixture
def server(tiny_registry: Path, tmp_path: Path) -> RankingServer:
    """A server of the tiny bundle that keeps events, refuses nobody for lack of time, and tells all it can."""
    config = ServerConfig(
        registry=tiny_registry, data=tmp_path / "live", port=0, admin_port=0, metrics_port=0, threads=2,
        default_deadline_s=60, most_deadline_s=600, receipts=0.01, slow_ms=1,
    )  # fmt: skip
    return RankingServer(config, load_current)


def methods() -> list[tuple[str, Any]]:
    """Name the methods of every service with the type of their messages; rankings are the most that is asked."""
    found = [
        (f"/{service.full_name}/{method.name}", method)
        for service in pb.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    ranks = [one for one in found if one[0].endswith("/Rank")]
    return [*found, *ranks * 4]


class Fuzz:
    """One run: the messages of a seed from a number on, and what was found."""

    def __init__(self, messages: Any, leaks: Any, memory: Any, known: Any) -> None:
        self.findings = leaks.Findings(messages.CANARY)
        self._leaks, self._memory = leaks, memory
        self._messages = messages
        self._known = known
        self._asked = 0
        self.growth_mib = 0.0

    def run(self, server: Any, inside: Any, say: Callable[[str], None]) -> None:
        """Ask everything of a server in this process."""
        with self._leaks.Listener(self.findings), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run(server, inside, say))

    async def _run(self, server: Any, inside: Any, say: Callable[[str], None]) -> None:
        with inside.listened() as ports:
            await server.start()
        await server.load()
        numbers = iter(range(FIRST, FIRST + MESSAGES))
        await asyncio.gather(self._watch(server, say), *(self._ask(ports, numbers) for _ in range(TOGETHER)))
        assert await server.stop()

    async def _ask(self, ports: list[Any], numbers: Iterator[int]) -> None:
        everything = methods()
        for number in numbers:
            path, method = everything[random.Random(SEED ^ number).randrange(len(everything))]
            type_ = method.input_type
            count = 1 + number % 4 if method.client_streaming else 1
            parts = [self._messages.message(type_, SEED + part, number, self._known) for part in range(count)]
            answers = [await port.ask(path, parts) for port in ports]
            # One port has the method, the others don't.
            (answer,) = [one for one in answers if one.code.name != "UNIMPLEMENTED"]
            response = None
            if answer.data and self._messages.CANARY.encode() in answer.data:
                response = getattr(pb, method.output_type.name).FromString(answer.data)
            self.findings.answer(f"message {number} to {path}", answer.code, answer.text, response)
            self._asked += 1

    async def _watch(self, server: Any, say: Callable[[str], None]) -> None:
        """Look at the metrics and the memory while it goes on."""
        import urllib.request

        began, warm, told = time.monotonic(), 0.0, 0
        while self._asked < MESSAGES:
            await asyncio.sleep(0.2)
            page = await asyncio.to_thread(
                lambda: urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10).read().decode()  # noqa: S310
            )
            self.findings.line("metrics", page)
            occupied = self._memory.resident()
            if not warm and self._asked >= MESSAGES / 5:
                warm = occupied
            self.growth_mib = occupied - warm if warm else 0.0
            if self._asked >= told + 20_000:
                told = self._asked
                rate = self._asked / (time.monotonic() - began)
                say(f"{self._asked:,} messages, {rate:,.0f} a second, {occupied:,.0f} MiB, {dict(self.findings.codes)}")


def again() -> str:
    return f"again: FUZZ_SEED={SEED} FUZZ_FIRST={FIRST} FUZZ_MESSAGES={MESSAGES} pytest {Path(__file__).name}"


@pytest.mark.slow
def test_every_message_is_answered_or_refused_and_says_nothing_elsewhere(
    server: Any, inside: Any, messages: Any, leaks: Any, memory: Any, known: Any, say: Any
) -> None:
    fuzz = Fuzz(messages, leaks, memory, known)
    fuzz.run(server, inside, say)
    findings = fuzz.findings
    say(f"seed {SEED}: {MESSAGES:,} messages, {dict(findings.codes)}, {fuzz.growth_mib:+.1f} MiB after the first fifth")

    assert findings.found == [], again()
    assert sum(findings.codes.values()) == MESSAGES
    if MESSAGES >= 1_000:
        # It looks at something: a good part gets through, a good part is refused, and the log is written and heard.
        assert findings.codes["OK"] > MESSAGES / 5, findings.codes
        assert findings.codes["INVALID_ARGUMENT"] > MESSAGES / 10, findings.codes
        assert findings.lines > MESSAGES / 2
        assert fuzz.growth_mib <= MOST_GROWTH_MIB, again()
