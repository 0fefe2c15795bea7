"""Servers that fail as they are told and note what arrives, and both clients behind the same blocking calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import grpc
import pytest

from serving.client import AsyncRankingClient, RankingClient
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc


@dataclass(frozen=True)
class Arrival:
    """A call as the server saw it; ``left_s`` is the time that its deadline left it."""

    request: Any
    at: float
    left_s: float
    peer: str


class TellingServer(pb_grpc.RankingServiceServicer):
    """Does with each arrival what its list says next: fail with (code, pushback), "hang", or sleep for seconds.

    Beyond the list it answers at once, as what stands last in the list if ``forever``.
    """

    def __init__(self, *does: Any, forever: bool = False) -> None:
        self.arrivals: list[Arrival] = []
        self.asked = threading.Event()
        self.left_alone = threading.Event()  # a caller of a hanging call has gone
        self.address = ""
        self._does = list(does)
        self._forever = forever

    def Rank(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._do(request, context)
        count = len(request.candidate_ids)
        columns = pb.RankedColumns(places=range(count), scores=[0.0] * count, click_probabilities=[0.0] * count)
        return pb.RankResponse(
            request_id=request.request_id,
            bundle_id=self.address,
            items=[pb.RankedItem(item_id=each.item_id) for each in request.candidates],
            columns=columns if count else None,
        )

    def GetModelInfo(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._do(request, context)
        return pb.GetModelInfoResponse()

    def RecordEvents(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._do(request, context)
        return pb.RecordEventsResponse()

    def StreamEvents(self, requests: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._do(list(requests), context)
        return pb.StreamEventsResponse()

    def UpsertItems(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._do(request, context)
        return pb.UpsertItemsResponse()

    def DeleteItems(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._do(request, context)
        return pb.DeleteItemsResponse()

    def _do(self, request: Any, context: Any) -> None:
        self.arrivals.append(Arrival(request, time.monotonic(), context.time_remaining(), context.peer()))
        self.asked.set()
        does: Any = 0
        if self._does:
            does = self._does[0] if self._forever and len(self._does) == 1 else self._does.pop(0)
        if does == "hang":
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait(60)
            self.left_alone.set()
        elif isinstance(does, tuple):
            code, pushback = does
            context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),) if pushback else ())
            context.abort(code, "because")
        else:
            time.sleep(does)


class OnLoop:
    """The asyncio client as blocking calls, on a loop that runs in a thread."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def make() -> AsyncRankingClient:
            return AsyncRankingClient(*arguments, **settings)

        try:
            self._client = self._wait(make())
        except BaseException:
            self._end()
            raise

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **asked: self._wait(getattr(self._client, name)(*given, **asked))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@pytest.fixture
def telling() -> Iterator[Callable[..., TellingServer]]:
    """Start servers that do as they are told."""
    with ExitStack() as stack:

        def start(*does: Any, forever: bool = False) -> TellingServer:
            servicer = TellingServer(*does, forever=forever)
            server = grpc.server(ThreadPoolExecutor(16))
            pb_grpc.add_RankingServiceServicer_to_server(servicer, server)
            servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            stack.callback(lambda: server.stop(None).wait(10))
            return servicer

        yield start


@pytest.fixture(params=[RankingClient, OnLoop], ids=["threads", "asyncio"])
def client_of(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make clients, of either kind."""
    with ExitStack() as stack:
        yield lambda *arguments, **settings: stack.enter_context(request.param(*arguments, **settings))
