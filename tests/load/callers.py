"""All that callers do to a server, day in, day out: a fixed crowd, so that what is counted by user is full soon."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

from grpc import aio

from recsys.events import time_ordered_id
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc

USERS, STRANGERS = 200, 40
WORKERS = 4
PAUSE_S = 0.004
# Every so often an item changes, a client dies amid its call, and another connects anew.
NOW_AND_THEN_S = 0.5


class Callers:
    """Several callers of one server at a moderate pace; ``ends`` counts what came of their calls."""

    def __init__(self, address: str, items: list[str], seed: int) -> None:
        self.ends: Counter[str] = Counter()
        self._address = address
        self._rng = random.Random(seed)
        self._items = items
        self._users = [f"user-{n}" for n in range(USERS)]

    async def fill(self, mib: int) -> None:
        """Tell events of this size, because a small shop fills the event log's cache of 64 MiB only after hours."""
        async with aio.insecure_channel(self._address) as channel:
            parts = (pb.StreamEventsRequest(events=events) for events in self.large_events(mib))
            await pb_grpc.RankingServiceStub(channel).StreamEvents(parts, timeout=300)

    def large_events(self, mib: int) -> Iterator[list[pb.Event]]:
        """Make lists that were shown for long queries, half a MiB at a time."""
        for _ in range(2 * mib):
            events = [self._happened()[0] for _ in range(64)]
            for event in events:
                event.impression.query = "long " * 1_638
            yield events

    async def go_on(self, seconds: float) -> None:
        """Call for so long."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._work(until) for _ in range(WORKERS)), self._disturb(until))

    async def _work(self, until: float) -> None:
        rng = self._rng
        while time.monotonic() < until:
            async with aio.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = pb_grpc.RankingServiceStub(channel)
                for _ in range(rng.randint(50, 400)):
                    if time.monotonic() >= until:
                        return
                    await self._call(stub)
                    await asyncio.sleep(PAUSE_S)

    async def _call(self, stub: Any) -> None:
        rng, kind = self._rng, self._rng.random()
        if kind < 0.75:
            call = stub.Rank(self._asked(), timeout=0.0005 if kind < 0.03 else 10)
        elif kind < 0.9:
            call = stub.RecordEvents(pb.RecordEventsRequest(events=self._happened()), timeout=10)
        elif kind < 0.95:
            call = stub.StreamEvents((pb.StreamEventsRequest(events=self._happened()) for _ in range(3)), timeout=10)
        elif kind < 0.98:
            call = stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=10)
        else:
            call = stub.Rank(pb.RankRequest(user_id="x" * 129), timeout=10)
        if rng.random() < 0.04:
            await asyncio.sleep(rng.random() * 0.004)
            call.cancel()
        try:
            await call
            self.ends["OK"] += 1
        except aio.AioRpcError as error:
            self.ends[error.code().name] += 1
        except asyncio.CancelledError:
            self.ends["CANCELLED"] += 1

    def _asked(self) -> pb.RankRequest:
        rng = self._rng
        chosen = rng.sample([*self._items, *(f"stranger-{n}" for n in range(STRANGERS))], 20)
        message = pb.RankRequest(user_id=rng.choice(self._users), candidates=[pb.Candidate(item_id=i) for i in chosen])
        kind = rng.random()
        if kind < 0.3:
            message.history.SetInParent()
            for item_id in rng.sample(self._items, 10):
                message.history.entries.add(item_id=item_id, action=rng.choice((1, 2, 3, 4)))
        elif kind < 0.4:
            number = rng.randrange(30)
            message.candidates.add(item_id=f"sent-{number}", text=pb.ItemText(title=f"Something new, number {number}"))
        elif kind < 0.5:
            message.query = f"what I look for, number {rng.randrange(30)}"
        elif kind < 0.55:
            message.reasons_per_item = 3
        return message

    def _happened(self) -> list[pb.Event]:
        rng, now_us = self._rng, time.time_ns() // 1_000
        request_id, shown = time_ordered_id(now_us), rng.sample(self._items, 8)
        impression = pb.Impression(
            request_id=request_id, user_id=rng.choice(self._users), item_ids=shown, surface="home"
        )
        events = [pb.Event(event_id=time_ordered_id(now_us), impression=impression)]
        click = pb.Click(request_id=request_id, item_id=rng.choice(shown))
        events.append(pb.Event(event_id=time_ordered_id(now_us), click=click))
        done = pb.Interaction(
            user_id=rng.choice(self._users), item_id=rng.choice(shown), action=rng.choice((3, 4, 5, 6))
        )
        events.append(pb.Event(event_id=time_ordered_id(now_us), interaction=done))
        return events

    async def _disturb(self, until: float) -> None:
        """Change and delete items, and die amid a call, in turns."""
        async with aio.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = pb_grpc.RankingServiceStub(channel)
            turn = 0
            while time.monotonic() < until:
                turn += 1
                name = f"live-{turn // 4 % 20}"
                if turn % 4 == 1:
                    text = pb.ItemText(title=f"{name}, version {self._rng.randrange(3)}", category="Bath")
                    await stub.UpsertItems(pb.UpsertItemsRequest(items=[pb.Item(item_id=name, text=text)]), timeout=10)
                elif turn % 4 == 2 and turn % 16 == 2:
                    await stub.DeleteItems(pb.DeleteItemsRequest(item_ids=[name]), timeout=10)
                elif turn % 4 == 3:
                    await self._die_amid_a_stream()
                else:
                    self._die_amid_a_frame()
                await asyncio.sleep(NOW_AND_THEN_S)

    async def _die_amid_a_stream(self) -> None:
        """Leave without a word while more of a stream is awaited."""
        channel = aio.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)])

        async def parts() -> AsyncIterator[pb.StreamEventsRequest]:
            yield pb.StreamEventsRequest(events=self._happened())
            await asyncio.sleep(30)

        call = pb_grpc.RankingServiceStub(channel).StreamEvents(parts(), timeout=60)
        await asyncio.sleep(0.05)
        await channel.close()
        await asyncio.gather(call, return_exceptions=True)
        self.ends["died"] += 1

    def _die_amid_a_frame(self) -> None:
        """Begin a connection, and have the system cut it off."""
        host, _, port = self._address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x10\x00\x01")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.ends["died"] += 1
