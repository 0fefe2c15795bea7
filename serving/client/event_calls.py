"""The client's side of events: nouns in, what became of them out."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Protocol

from recsys.events import Event
from serving.convert_events import recorded_from_wire, recording_to_wire, stream_to_wire, streamed_from_wire
from serving.recorded import Recorded

CHUNK = 500
# Below the largest message that a server accepts unless configured otherwise.
_MOST_BYTES = 1_000_000


class _Calling(Protocol):
    """What the calls below need of a client."""

    def _call(self, method: str, message: Any) -> Any: ...

    def _call_once(self, method: str, message: Any, deadline_s: float | None) -> Any: ...


class EventCalls:
    """Records events; part of ``RankingClient``."""

    def record(self: _Calling, events: Iterable[Event]) -> Recorded:
        """Record up to 10,000 events; those that the answer counts as accepted are durable, and the next ranking knows.

        Without an answer, send the same events again: each is counted once.

        Raises:
            InvalidRequest: too many events.
            NotReady: nothing serves at the address, or not yet, or not any more, or it could not write.
            ServiceError: anything else.
        """
        request = recording_to_wire(events)
        return recorded_from_wire(self._call("RecordEvents", request))

    def stream(
        self: _Calling, events: Iterable[Event], *, chunk: int = CHUNK, deadline_s: float | None = None
    ) -> Recorded:
        """Record any number of events, ``chunk`` to a message; raises as ``record`` does.

        The deadline is for the whole stream; there is none unless given. A stream is sent once: without an answer, send
        its events again. What ``events`` raises is raised here too,
        after the events before it were recorded.
        """
        source = _Source(events)
        messages = stream_to_wire(source, chunk=chunk, most_bytes=_MOST_BYTES)
        answer = self._call_once("StreamEvents", messages, deadline_s)
        if source.error is not None:
            raise source.error
        return streamed_from_wire(answer)


class AsyncEventCalls:
    """As ``EventCalls``, for ``AsyncRankingClient``."""

    async def record(self: _Calling, events: Iterable[Event]) -> Recorded:
        """Record up to 10,000 events, as ``EventCalls.record``."""
        request = recording_to_wire(events)
        return recorded_from_wire(await self._call("RecordEvents", request))

    async def stream(
        self: _Calling, events: AsyncIterable[Event], *, chunk: int = CHUNK, deadline_s: float | None = None
    ) -> Recorded:
        """Record any number of events, as ``EventCalls.stream``."""
        source = _AsyncSource(events, chunk)
        answer = await self._call_once("StreamEvents", aiter(source), deadline_s)
        if source.error is not None:
            raise source.error
        return streamed_from_wire(answer)


class _Source:
    """Events up to the first error, which is kept: gRPC would only log it and cancel the call."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.error: Exception | None = None
        self._events = events

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._events
        except Exception as error:  # noqa: BLE001 - raised again by whoever reads to the end
            self.error = error


class _AsyncSource:
    """The messages of events up to the first error, which is kept."""

    def __init__(self, events: AsyncIterable[Event], chunk: int) -> None:
        self.error: Exception | None = None
        self._events = events
        self._chunk = chunk

    async def __aiter__(self) -> AsyncIterator[Any]:
        held: list[Event] = []
        try:
            async for event in self._events:
                held.append(event)
                if len(held) == self._chunk:
                    for message in stream_to_wire(held, chunk=self._chunk, most_bytes=_MOST_BYTES):
                        yield message
                    held = []
        except Exception as error:  # noqa: BLE001 - raised again by whoever reads to the end
            self.error = error
        for message in stream_to_wire(held, chunk=self._chunk, most_bytes=_MOST_BYTES):
            yield message
