"""Joins a batch of events with what the log knows: which are new, which list each click belongs to, what is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from recsys.events import Click, Event, Impression, Logged
from serving.event_rows import LIST_SEQUENCE, PLACE, TOLD_AT, Row, row_of
from serving.recorded import Rejected, RejectionReason

FUTURE_US = 300_000_000
"""How far a caller's clock may be ahead; what lies further ahead is rejected."""

_DAY_US = 86_400_000_000


@dataclass(slots=True, kw_only=True)
class KnownList:
    """A list in the log, and the places of it whose click was told."""

    sequence: int
    shown: Impression
    clicked: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is known of a stored click now that its list came."""

    sequence: int
    list_sequence: int
    place: int | None
    told_at: int | None


class Join:
    """Takes one batch, event by event, in order.

    ``known`` are the ids in the log, ``lists`` its lists and ``waiting`` its clicks without a list (with their
    sequences, oldest first) by request id; each has to cover what the batch names.
    """

    def __init__(
        self,
        *,
        newest: int,
        now_us: int,
        late_window_us: int,
        known: set[str],
        lists: dict[str, KnownList],
        waiting: Mapping[str, Sequence[tuple[int, Click]]],
    ) -> None:
        self.sequence = newest
        self.rows: list[Row] = []
        self.settled: list[Settled] = []
        self.told: list[Logged] = []
        self.duplicates: list[int] = []
        self.rejected: list[Rejected] = []
        self._now_us = now_us
        self._late_window_us = late_window_us
        self._known = known
        self._lists = lists
        # Of a click in this batch there is a row that can still be changed.
        self._waiting: dict[str, list[tuple[int, Click, Row | None]]] = {
            request_id: [(sequence, click, None) for sequence, click in clicks]
            for request_id, clicks in waiting.items()
        }

    def take(self, position: int, event: Event) -> None:
        """Give the event a row, or a reason why it gets none."""
        if event.event_id in self._known:
            self.duplicates.append(position)
            return
        if event.ts < self._now_us - self._late_window_us:
            self._reject(position, event, RejectionReason.TOO_LATE)
            return
        if event.ts > self._now_us:
            if event.ts > self._now_us + FUTURE_US:
                self._reject(position, event, RejectionReason.FUTURE)
                return
            event = replace(event, ts=self._now_us)
        if isinstance(event, Impression) and event.request_id in self._lists:
            self._reject(position, event, RejectionReason.CONFLICT)
            return
        self.sequence += 1
        self._known.add(event.event_id)
        row = row_of(event, self.sequence, self._now_us)
        self.rows.append(row)
        if isinstance(event, Click):
            self._click(event, row)
            return
        self.told.append(Logged(sequence=self.sequence, event=event))
        if isinstance(event, Impression):
            self._list(event)

    def _list(self, shown: Impression) -> None:
        known = self._lists[shown.request_id] = KnownList(sequence=self.sequence, shown=shown)
        for sequence, click, row in self._waiting.pop(shown.request_id, ()):
            place, told_at = self._settle(click, known)
            if row is None:
                self.settled.append(
                    Settled(sequence=sequence, list_sequence=known.sequence, place=place, told_at=told_at)
                )
            else:
                row[LIST_SEQUENCE], row[PLACE], row[TOLD_AT] = known.sequence, place, told_at

    def _click(self, click: Click, row: Row) -> None:
        known = self._lists.get(click.request_id)
        if known is None:
            self._waiting.setdefault(click.request_id, []).append((self.sequence, click, row))
            return
        row[LIST_SEQUENCE] = known.sequence
        row[PLACE], row[TOLD_AT] = self._settle(click, known)

    def _settle(self, click: Click, known: KnownList) -> tuple[int | None, int | None]:
        """Tell the click if it is the first on an item of the list; returns its place and when it was told."""
        try:
            place = known.shown.item_ids.index(click.item_id)
        except ValueError:
            return None, None
        if place in known.clicked:
            return place, None
        known.clicked.add(place)
        self.told.append(Logged(sequence=self.sequence, event=click, shown=known.shown))
        return place, self.sequence

    def _reject(
        self,
        position: int,
        event: Event,
        reason: Literal[RejectionReason.TOO_LATE, RejectionReason.FUTURE, RejectionReason.CONFLICT],
    ) -> None:
        message = {
            RejectionReason.TOO_LATE: f"it happened at {event.ts}, now is {self._now_us} (UTC microseconds): events "
            f"are taken up to {self._late_window_us / _DAY_US:g} days late; leave it out",
            RejectionReason.FUTURE: f"it claims to happen at {event.ts}, now is {self._now_us} (UTC microseconds); "
            "set the clock, or send the time in microseconds",
            RejectionReason.CONFLICT: "another list of this request_id was recorded under another event_id; "
            "give each list a request_id of its own",
        }[reason]
        self.rejected.append(Rejected(position=position, event_id=event.event_id, reason=reason, message=message))
