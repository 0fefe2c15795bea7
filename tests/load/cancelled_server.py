"""Serves one method behind the front door, or with a read as gRPC has it ("alone"); says what memory is given out.

The first line on standard output is the port. ``Used`` answers with the bytes that the C library has given out and not
got back (``mallinfo2``), exactly.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from typing import Any

import grpc
import uvloop
from grpc import aio

import serving.front

FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def given_out() -> int:
    """Return how many bytes are given out."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = MallInfo
    gc.collect()
    found = libc.mallinfo2()
    return int(found.uordblks + found.hblkhd)


async def rank(message: bytes, _context: Any) -> bytes:
    await asyncio.sleep(0.002)
    return message


async def used(_message: bytes, _context: Any) -> bytes:
    return str(given_out()).encode()


async def serve() -> None:
    handler: Any = grpc.unary_unary_rpc_method_handler(rank)
    handlers = {
        "Rank": serving.front.FrontInterceptor("shop", {}).wrap("/shop/Rank", handler),
        "Used": grpc.unary_unary_rpc_method_handler(used),
    }
    server = aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


async def read_alone(context: Any) -> Any:
    return await context.read()


if __name__ == "__main__":
    if sys.argv[1:] == ["alone"]:
        serving.front.read_whole = read_alone
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
