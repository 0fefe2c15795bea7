"""Serves a registry with a fault in it, so that tests of load can show that they see it: FAULT REGISTRY.

"text" is a refusal that quotes the user, "internal" an error of our own, "unknown" one that nobody translates, "log" a
line that quotes the user, "memory" a list that keeps all that is asked, "much memory" one that keeps 4 MiB each time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import structlog
from grpc import StatusCode

import serving.servicer
import serving.status
from recsys.errors import InvalidRequest
from serving.config import ServerConfig
from serving.process import run_server

KEPT: list[Any] = []


def plant(fault: str) -> None:
    """Have one fault in this process from now on."""
    read = serving.servicer.request_from_wire

    def planted(message: Any, **told: Any) -> Any:
        request = read(message, **told)
        if fault == "memory":
            # So much that it cannot hide in memory that is free, however few are asked.
            KEPT.append((message, request, b"x" * 16_384))
        if fault == "much memory":
            KEPT.append(b"x" * (4 << 20))
        if fault == "log":
            structlog.get_logger().info("asked", user=request.user_id)
        if fault == "text":
            raise InvalidRequest(f"the user {request.user_id!r} is not welcome; send another one")
        if fault in ("internal", "unknown"):
            raise KeyError(request.user_id)
        return request

    serving.servicer.request_from_wire = planted
    if fault == "unknown":
        serving.status.status_of = lambda error: (StatusCode.UNKNOWN, f"{type(error)}: {error}")


if __name__ == "__main__":
    plant(sys.argv[1])
    run_server(ServerConfig.read(registry=Path(sys.argv[2])))
