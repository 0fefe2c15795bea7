"""Servers that ``serve_latency`` asks, each in a process of its own: the product's, and one that only answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc import aio
from without_models import WithoutModels

from serving.config import ServerConfig
from serving.load import load_current
from serving.logging import configure_logging
from serving.model import Model
from serving.server import RankingServer

RANK = "/recsys.v1.RankingService/Rank"


async def serve_without_models(pipe: Any, bundle: Path, threads: int, settings: Mapping[str, Any]) -> None:
    """Serve answers that need no model."""
    await serve(pipe, bundle, threads, settings, WithoutModels.serve)


async def serve(
    pipe: Any,
    bundle: Path,
    threads: int,
    settings: Mapping[str, Any] | None = None,
    load_model: Callable[[Path], Model] = load_current,
) -> None:
    """Serve as ``recsys serve`` does, its log included."""
    configure_logging("info")
    server = RankingServer(ServerConfig(registry=bundle, port=0, threads=threads, **(settings or {})), load_model)
    await server.start()
    await server.load()
    pipe.send(server.address)
    await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)
    await server.stop()


async def echo(pipe: Any, by_length: list[tuple[int, bytes]]) -> None:
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
