"""A served bundle in a process of its own, and what can be seen of it from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.runtime import ENVIRONMENT

PLANTED = Path(__file__).with_name("planted_server.py")


@dataclass
class Served:
    """A server process; its addresses are those of its three ports."""

    process: subprocess.Popen[bytes]
    address: str
    admin: str
    metrics: str
    log: Path

    def page(self) -> str:
        """Return its metrics."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=300) as answer:
            return str(answer.read().decode())

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def files(self) -> int:
        """Count what it has open: files, sockets and the like."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def served(registry: Path, folder: Path, *, plant: str = "", **settings: object) -> Iterator[Served]:
    """Run `recsys serve`, or the same with a fault, until the block ends; settings are the server's own."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "recsys.cli", "serve", str(registry)]
    if plant:
        command = [sys.executable, str(PLANTED), plant, str(registry)]
    said = {"port": 0, "admin_port": 0, "metrics_port": 0, "threads": 2, "data": folder / "live", **settings}
    # The one with a fault has gRPC as `recsys serve` has it, though it imports it first.
    ours = {f"RECSYS_{name.upper()}": str(value) for name, value in said.items()}
    environment = {**os.environ, **ENVIRONMENT, **ours}
    with log.open("wb") as file, subprocess.Popen(command, env=environment, stderr=file) as process:
        try:
            ports = _ports(process, log)
            yield Served(process, ports["address"], ports["admin"], ports["metrics"], log)
        finally:
            process.kill()


def _ports(process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """Wait until it serves; returns what it said of its ports."""
    while True:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        by_event = {line["event"]: line for line in lines}
        if "serving" in by_event:
            return dict(by_event["loading"])
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
