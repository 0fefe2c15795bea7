"""Looks at a server's memory and metrics while messages come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


class Watch:
    """Watches until ``count`` messages are ``asked``; ``growth_mib`` is what was added after the first fifth."""

    def __init__(self, count: int, resident: Callable[[], float], findings: Any) -> None:
        self.asked = 0
        self.growth_mib = 0.0
        self._count, self._resident, self._findings = count, resident, findings
        self._warm: float | None = None

    def told(self) -> None:
        """Count a message that was answered."""
        self.asked += 1
        if self._warm is None and self.asked >= self._count / 5:
            self._warm = self._resident()

    async def go_on(self, page: Callable[[], str], say: Callable[[str], None]) -> None:
        """Look again and again, and say how it goes on; ``page`` returns the metrics."""
        began, said = time.monotonic(), 0
        while True:
            ended = self.asked >= self._count
            self._findings.line("metrics", await asyncio.to_thread(page))
            occupied = self._resident()
            self.growth_mib = occupied - self._warm if self._warm is not None else 0.0
            if self.asked >= said + 20_000:
                said = self.asked
                rate, codes = said / (time.monotonic() - began), dict(self._findings.codes)
                say(f"{said:,} messages, {rate:,.0f} a second, {occupied:,.0f} MiB, {codes}")
            if ended:
                return
            await asyncio.sleep(0.2)
