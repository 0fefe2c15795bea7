"""Takes events off the wire: reads them in small portions, has them written, and tells what became of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace

from structlog.contextvars import bind_contextvars

from recsys.errors import NoEventLog, NotReady, Overloaded
from serving.convert_events import (
    FIRST_REJECTED,
    MAX_EVENTS,
    ReadEvents,
    check_count,
    events_from_wire,
    recorded_to_wire,
    streamed_to_wire,
)
from serving.event_writer import EventWriter
from serving.pb import ranking_pb2 as pb
from serving.recorded import Appended, Recorded, Rejected

_SHUTTING_DOWN = "the server is shutting down; send the events to another one, or again later"

# Events read before the event loop may do something else, so that no ranking waits for a large message; and how many
# items of a list take as long as another event.
_PORTION, _ITEMS_AN_EVENT = 200, 50
# Events of one stream that may wait for their commit while more are read, beside those of one message.
_IN_FLIGHT = 8_000


# Told how many events of a message are new, how many were known, and which were rejected.
Counted = Callable[[int, int, Sequence[Rejected]], None]


class EventIntake:
    """Records events with ``writer``, which is None until a model is there to learn from them; ``counted`` is told."""

    def __init__(self, *, has_log: bool, counted: Counted) -> None:
        self.writer: EventWriter | None = None
        self._counted = counted
        self._has_log = has_log
        self._stopping = False
        # The next message of each open stream.
        self._coming: set[asyncio.Future[pb.StreamEventsRequest | None]] = set()

    @property
    def busy(self) -> bool:
        """Whether something is still being written."""
        return self.writer is not None and self.writer.busy

    async def drain(self, grace_s: float) -> bool:
        """Refuse more events and write those taken; False if the grace was too short for that."""
        self._stopping = True
        for message in self._coming:
            message.cancel()
        if self.writer is None:
            return True
        _, late = await asyncio.wait([asyncio.wrap_future(self.writer.finish())], timeout=grace_s)
        return not late

    async def record(self, request: pb.RecordEventsRequest) -> pb.RecordEventsResponse:
        """Record the events of one call."""
        writer = self._ready()
        read = await _read(request.events, 0)
        appended = await asyncio.wrap_future(writer.submit(read.events))
        tally = _Tally(writer.sequence, self._counted)
        tally.add(read, appended)
        return recorded_to_wire(tally.recorded())

    async def stream(self, requests: AsyncIterator[pb.StreamEventsRequest]) -> pb.StreamEventsResponse:
        """Record the events of a stream; a message is read while those before it are committed."""
        writer = self._ready()
        tally = _Tally(writer.sequence, self._counted, listed=FIRST_REJECTED)
        in_flight: deque[tuple[ReadEvents, asyncio.Future[Appended]]] = deque()
        position = 0

        async def settle_oldest() -> None:
            read, answer = in_flight[0]
            tally.add(read, await answer)
            in_flight.popleft()

        def waiting() -> int:
            return sum(len(read.events) for read, _ in in_flight)

        try:
            async for request in self._messages(requests):
                read = await _read(request.events, position)
                position += len(request.events)
                while waiting() > _IN_FLIGHT:
                    await settle_oldest()
                while (answer := _submitted(writer, read, patient=bool(in_flight))) is None:
                    await settle_oldest()
                in_flight.append((read, answer))
            while in_flight:
                await settle_oldest()
        finally:
            for _, answer in in_flight:
                answer.cancel()  # nobody asks any more; what was submitted is written all the same
        bind_contextvars(rejected=tally.rejected_count)
        return streamed_to_wire(tally.recorded())

    async def _messages(self, requests: AsyncIterator[pb.StreamEventsRequest]) -> AsyncIterator[pb.StreamEventsRequest]:
        """Yield a stream's messages; raises NotReady when the server stops."""
        count = 0
        while True:
            coming = asyncio.ensure_future(anext(requests, None))
            self._coming.add(coming)
            try:
                message = await coming
            except asyncio.CancelledError:
                self._ready()
                raise
            finally:
                self._coming.discard(coming)
            self._ready()
            if message is None:
                return
            count += len(message.events)
            bind_contextvars(n=count)
            yield message

    def _ready(self) -> EventWriter:
        if self._stopping:
            raise NotReady(_SHUTTING_DOWN)
        if not self._has_log:
            raise NoEventLog("this server keeps no events; start it with `recsys serve --data DIRECTORY`")
        if self.writer is None:
            raise NotReady("no model is loaded yet; wait until the health service says SERVING")
        return self.writer


async def _read(messages: Sequence[pb.Event], first: int) -> ReadEvents:
    check_count(messages)
    whole = ReadEvents(events=[], positions=[], rejected=[])
    for start, end in _portions(messages):
        if start:
            await asyncio.sleep(0)
        read = events_from_wire(messages[start:end], first=first + start, now_us=time.time_ns() // 1_000)
        whole.events.extend(read.events)
        whole.positions.extend(read.positions)
        whole.rejected.extend(read.rejected)
    return whole


def _portions(messages: Sequence[pb.Event]) -> Iterator[tuple[int, int]]:
    """Yield where portions of like work begin and end."""
    begin = work = 0
    for end, message in enumerate(messages, start=1):
        work += 1 + len(message.impression.item_ids) // _ITEMS_AN_EVENT
        if work >= _PORTION or end == len(messages):
            yield begin, end
            begin, work = end, 0


def _submitted(writer: EventWriter, read: ReadEvents, *, patient: bool) -> asyncio.Future[Appended] | None:
    """Submit what was read; None if there is too much waiting, and the caller is ``patient``."""
    try:
        return asyncio.wrap_future(writer.submit(read.events))
    except Overloaded:
        if patient:
            return None
        raise


class _Tally:
    """Adds up what became of a call's events, whose first ``listed`` rejections are told one by one."""

    def __init__(self, sequence: int, counted: Counted, *, listed: int = MAX_EVENTS) -> None:
        self.rejected_count = 0
        self._counted = counted
        self._accepted = 0
        self._duplicates = 0
        self._rejected: list[Rejected] = []
        self._sequence = sequence
        self._listed = listed

    def add(self, read: ReadEvents, appended: Appended) -> None:
        """Count the events of one message; positions become those in the call."""
        placed = [replace(event, position=read.positions[event.position]) for event in appended.rejected]
        rejected = sorted([*read.rejected, *placed], key=lambda event: event.position)
        self._counted(appended.accepted, len(appended.duplicates), rejected)
        self._accepted += appended.accepted
        self._duplicates += len(appended.duplicates)
        self._rejected += rejected[: self._listed - len(self._rejected)]
        self.rejected_count += len(rejected)
        self._sequence = max(self._sequence, appended.sequence)

    def recorded(self) -> Recorded:
        """Return the sum."""
        return Recorded(
            accepted=self._accepted,
            duplicates=self._duplicates,
            rejected=tuple(self._rejected),
            rejected_count=self.rejected_count,
            sequence=self._sequence,
        )
