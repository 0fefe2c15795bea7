"""Events on the wire to domain nouns and back; a malformed event is rejected alone, not with its whole call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from recsys.errors import InvalidRequest
from recsys.events import Click, Event, Impression, Interaction
from recsys.schema import ACTIONS, MAX_ID_BYTES
from serving.pb import ranking_pb2 as pb
from serving.recorded import Recorded, Rejected, RejectionReason

MAX_EVENTS = 10_000
FIRST_REJECTED = 100

_TYPE_OF_CODE = {code: ACTIONS[code] for code in pb.Action.values() if code} | {pb.ACTION_UNSPECIFIED: "click"}
_REASON_OF_CODE = {pb.RejectionReason.Value(f"REJECTION_REASON_{reason.name}"): reason for reason in RejectionReason}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEvents:
    """The events that are well-formed, where each stood, and the others."""

    events: list[Event]
    positions: list[int]
    rejected: list[Rejected]


def check_count(messages: Sequence[pb.Event]) -> None:
    """Refuse more events than one message may have; raises InvalidRequest."""
    if len(messages) > MAX_EVENTS:
        raise InvalidRequest(f"{len(messages)} events are more than {MAX_EVENTS}; send fewer at a time, or stream them")


def events_from_wire(messages: Sequence[pb.Event], *, first: int, now_us: int) -> ReadEvents:
    """Read events whose positions count from ``first``; one without a time happened at ``now_us``."""
    read = ReadEvents(events=[], positions=[], rejected=[])
    for position, message in enumerate(messages, start=first):
        try:
            read.events.append(_event_from_wire(message, now_us))
            read.positions.append(position)
        except InvalidRequest as error:
            read.rejected.append(
                Rejected(
                    position=position,
                    event_id=message.event_id[:MAX_ID_BYTES],  # its position says which one it is
                    reason=RejectionReason.MALFORMED,
                    message=str(error),
                )
            )
    return read


def _event_from_wire(message: pb.Event, now_us: int) -> Event:
    happened = message.WhichOneof("happened")
    ts = message.time_us or now_us
    if happened == "impression":
        shown = message.impression
        return Impression(
            event_id=message.event_id,
            request_id=shown.request_id,
            user_id=shown.user_id,
            ts=ts,
            item_ids=tuple(shown.item_ids),
            surface=shown.surface,
            query=shown.query,
        )
    if happened == "click":
        click = message.click
        return Click(event_id=message.event_id, request_id=click.request_id, item_id=click.item_id, ts=ts)
    if happened == "interaction":
        done = message.interaction
        type_ = _TYPE_OF_CODE.get(done.action, f"action {done.action}")
        return Interaction(event_id=message.event_id, user_id=done.user_id, item_id=done.item_id, type=type_, ts=ts)
    raise InvalidRequest("the event does not say what happened; set its impression, click or interaction")


def event_to_wire(event: Event) -> pb.Event:
    """Write an event."""
    message = pb.Event(event_id=event.event_id, time_us=event.ts)
    if isinstance(event, Impression):
        message.impression.CopyFrom(
            pb.Impression(
                request_id=event.request_id,
                user_id=event.user_id,
                item_ids=event.item_ids,
                surface=event.surface,
                query=event.query,
            )
        )
    elif isinstance(event, Click):
        message.click.CopyFrom(pb.Click(request_id=event.request_id, item_id=event.item_id))
    else:
        code = f"ACTION_{event.type.upper()}"
        message.interaction.CopyFrom(pb.Interaction(user_id=event.user_id, item_id=event.item_id, action=code))
    return message


def recording_to_wire(events: Iterable[Event]) -> pb.RecordEventsRequest:
    """Write the request of one call."""
    return pb.RecordEventsRequest(events=[event_to_wire(event) for event in events])


def stream_to_wire(events: Iterable[Event], *, chunk: int, most_bytes: int) -> Iterator[pb.StreamEventsRequest]:
    """Write the requests of a stream: ``chunk`` events each, fewer where they would be more than ``most_bytes``."""
    message, size = pb.StreamEventsRequest(), 0
    for event in events:
        written = event_to_wire(event)
        length = written.ByteSize()
        if message.events and (len(message.events) >= chunk or size + length > most_bytes):
            yield message
            message, size = pb.StreamEventsRequest(), 0
        message.events.append(written)
        size += length
    if message.events:
        yield message


def recorded_to_wire(recorded: Recorded) -> pb.RecordEventsResponse:
    """Write the answer of one call."""
    return pb.RecordEventsResponse(
        accepted=recorded.accepted,
        duplicates=recorded.duplicates,
        rejected=[_rejected_to_wire(event) for event in recorded.rejected],
        sequence=recorded.sequence,
    )


def streamed_to_wire(recorded: Recorded) -> pb.StreamEventsResponse:
    """Write the answer of a stream."""
    return pb.StreamEventsResponse(
        accepted=recorded.accepted,
        duplicates=recorded.duplicates,
        rejected=recorded.rejected_count,
        first_rejected=[_rejected_to_wire(event) for event in recorded.rejected[:FIRST_REJECTED]],
        sequence=recorded.sequence,
    )


def recorded_from_wire(message: pb.RecordEventsResponse) -> Recorded:
    """Read the answer of one call."""
    return Recorded(
        accepted=message.accepted,
        duplicates=message.duplicates,
        rejected=tuple(_rejected_from_wire(event) for event in message.rejected),
        rejected_count=len(message.rejected),
        sequence=message.sequence,
    )


def streamed_from_wire(message: pb.StreamEventsResponse) -> Recorded:
    """Read the answer of a stream."""
    return Recorded(
        accepted=message.accepted,
        duplicates=message.duplicates,
        rejected=tuple(_rejected_from_wire(event) for event in message.first_rejected),
        rejected_count=message.rejected,
        sequence=message.sequence,
    )


def _rejected_to_wire(event: Rejected) -> pb.RejectedEvent:
    reason = f"REJECTION_REASON_{event.reason.name}"
    return pb.RejectedEvent(position=event.position, event_id=event.event_id, reason=reason, message=event.message)


def _rejected_from_wire(event: pb.RejectedEvent) -> Rejected:
    return Rejected(
        position=event.position,
        event_id=event.event_id,
        reason=_REASON_OF_CODE[event.reason],
        message=event.message,
    )
