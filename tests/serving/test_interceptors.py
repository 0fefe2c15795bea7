"""Interceptors stand before each method in their order, asked for it once; nothing is kept of what is not served."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio

from serving.interceptors import Interceptors


class Named:
    """Adds its name to each answer of the methods that it stands before, and notes which it was asked about."""

    def __init__(self, name: str, *paths: str) -> None:
        self._name, self._paths = name, paths
        self.asked: list[str] = []

    def wrap(self, path: str, handler: Any) -> Any:
        self.asked.append(path)
        if path not in self._paths:
            return handler

        async def named(request: bytes, context: Any) -> bytes:
            answer: bytes = await handler.unary_unary(request, context)
            return answer + self._name.encode()

        return grpc.unary_unary_rpc_method_handler(named)


async def answers(interceptors: Interceptors, *paths: str) -> list[bytes]:
    """Call methods of a real server, one after the other."""

    async def echo(request: bytes, _context: Any) -> bytes:
        return request

    server = aio.server(interceptors=[interceptors])
    handlers = {name: grpc.unary_unary_rpc_method_handler(echo) for name in ("Rank", "Other")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            return [await channel.unary_unary(path)(b"-") for path in paths]
    finally:
        await server.stop(None)


def test_the_first_one_has_the_last_word_on_the_answer_and_others_pass_through() -> None:
    first, second = Named("1", "/shop/Rank", "/shop/Other"), Named("2", "/shop/Rank")

    assert asyncio.run(answers(Interceptors(first, second), "/shop/Rank", "/shop/Other")) == [b"-21", b"-1"]


def test_each_method_is_put_together_once() -> None:
    named = Named("1", "/shop/Rank")

    asyncio.run(answers(Interceptors(named), "/shop/Rank", "/shop/Other", "/shop/Rank", "/shop/Rank"))

    assert named.asked == ["/shop/Rank", "/shop/Other"]


def test_what_is_not_served_is_not_kept_however_often_it_is_asked_for() -> None:
    named = Named("1")
    interceptors = Interceptors(named)

    async def ask_for_nothing(path: str) -> StatusCode:
        with pytest.raises(aio.AioRpcError) as caught:
            await answers(interceptors, path)
        return caught.value.code()

    codes = [asyncio.run(ask_for_nothing(f"/shop/Nothing{number}")) for number in range(3)]

    assert codes == [StatusCode.UNIMPLEMENTED] * 3
    assert named.asked == []
    assert interceptors._wrapped == {}
