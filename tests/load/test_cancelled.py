"""Callers who go leave nothing in a server's memory; without care 90 bytes of each would stay."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from grpc import aio

from serving.runtime import ENVIRONMENT

SERVER = Path(__file__).with_name("cancelled_server.py")
CALLS, AT_ONCE = 4_000, 4
MOST_BYTES = 30.0

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc 2.33 counts what it gives out"
)


async def bytes_left_by_each(port: int) -> list[float]:
    """Cancel calls as soon as they are sent; returns by how many bytes each made the server larger, in two rounds."""

    async def go(places: int) -> None:
        async with aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            for _ in range(places):
                call = channel.unary_unary("/shop/Rank")(b"x" * 400)
                await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)

    async def used() -> int:
        await asyncio.gather(*(go(CALLS // AT_ONCE) for _ in range(AT_ONCE)))
        await asyncio.sleep(0.5)
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            return int(await channel.unary_unary("/shop/Used")(b""))

    warm, first, second = await used(), await used(), await used()
    return sorted([(first - warm) / CALLS, (second - first) / CALLS])


def left(*how: str) -> list[float]:
    command = [sys.executable, str(SERVER), *how]
    environment = {**os.environ, **ENVIRONMENT}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            return asyncio.run(bytes_left_by_each(int(server.stdout.readline())))
        finally:
            server.kill()


@pytest.mark.slow
def test_who_goes_before_the_message_is_read_leaves_nothing() -> None:
    assert left()[0] < MOST_BYTES  # a table may have doubled in the other round


@pytest.mark.slow
def test_the_control_read_as_grpc_has_it_something_of_each_stays() -> None:
    assert left("alone")[1] > MOST_BYTES
