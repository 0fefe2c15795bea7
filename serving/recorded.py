"""What became of events: taken, known already, or rejected, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from recsys.events import Logged


class RejectionReason(StrEnum):
    """Why an event was not taken; sending it again unchanged would be rejected again."""

    MALFORMED = "malformed"
    TOO_LATE = "too_late"
    FUTURE = "future"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An event that was not taken; ``position`` is where it stood in what was sent, from 0."""

    position: int
    event_id: str
    reason: RejectionReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of the events of one call; after a long stream only the first 100 rejections are listed.

    ``accepted`` are durable now and were not before, ``duplicates`` were durable already; ``sequence`` is the number of
    the newest event in the log.
    """

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...]
    rejected_count: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What the log made of a batch: ``size`` events, of which the ``duplicates`` (positions) were there before.

    ``sequence`` is the newest number in the log, ``told`` what the state has to learn, in order.
    """

    size: int
    duplicates: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    sequence: int
    told: Sequence[Logged] = ()

    @property
    def accepted(self) -> int:
        """Count the events that are durable now and were not before."""
        return self.size - len(self.duplicates) - len(self.rejected)

    def part(self, start: int, stop: int) -> Appended:
        """Return what became of the events from ``start`` up to ``stop``, as if they had been sent alone; not told."""
        return Appended(
            size=stop - start,
            duplicates=tuple(position - start for position in self.duplicates if start <= position < stop),
            rejected=tuple(
                replace(event, position=event.position - start)
                for event in self.rejected
                if start <= event.position < stop
            ),
            sequence=self.sequence,
        )
