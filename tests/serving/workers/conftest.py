"""Several workers as real processes, followed by their log, and clients that reach all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from serving.client import RankingClient

SCRIPT = Path(__file__).with_name("length_workers.py")

# The kernel chooses the worker of each connection by chance: with so many, both are chosen but once in 100,000 times.
CONNECTIONS = 18


class Workers:
    """Workers of a command, which tells on standard error what they do; killed at the end if they still run."""

    def __init__(self, command: Sequence[str | Path], **environment: str) -> None:
        self.popen = subprocess.Popen(
            command, env={**os.environ, **environment}, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        self.lines: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.popen.kill()  # and its workers leave
        self.popen.wait()
        self._reading.join(20)
        if self.popen.stderr is not None and not self._reading.is_alive():
            self.popen.stderr.close()

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many lines tell of an event; returns these."""
        end = time.monotonic() + 60
        while len(found := [line for line in self.lines if line["event"] == event]) < count:
            assert time.monotonic() < end, (event, self.said, self.lines)
            time.sleep(0.01)
        return found

    def serve(self, number: int = 2) -> str:
        """Wait until so many serve; returns their address."""
        address: str = self.wait_for("serving", number)[0]["address"]
        self.wait_for("all serve")
        return address

    def end(self) -> int:
        """Wait for the end of all of them; returns the status."""
        status = self.popen.wait(30)
        self._reading.join(20)
        assert not self._reading.is_alive()  # a worker that runs would hold the log open
        return status

    def answered(self) -> set[int]:
        """Which workers have answered rankings."""
        return {line["worker"] for line in self.lines if line["event"] == "call" and line["method"] == "Rank"}

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            if line.startswith("{"):
                self.lines.append(json.loads(line))
            else:
                self.said.append(line)


@contextmanager
def clients_of(address: str, count: int = CONNECTIONS, **settings: Any) -> Iterator[list[RankingClient]]:
    with ExitStack() as stack:
        yield [stack.enter_context(RankingClient(address, deadline_s=20, **settings)) for _ in range(count)]


@pytest.fixture(scope="session")
def clients() -> Any:
    return clients_of


@pytest.fixture(scope="session")
def workers_of() -> type[Workers]:
    return Workers


@pytest.fixture(scope="session")
def length_workers() -> Any:
    """Return what starts two workers of the model of obvious answers."""

    def start(**environment: str) -> Workers:
        settings = {"RECSYS_REGISTRY": "unused", "RECSYS_PORT": "0", "RECSYS_WORKERS": "2", **environment}
        return Workers([sys.executable, SCRIPT], **settings)

    return start


@pytest.fixture(scope="module")
def pair(length_workers: Any) -> Iterator[tuple[Workers, str]]:
    """Two workers that serve, and their address."""
    with length_workers() as workers:
        yield workers, workers.serve()
