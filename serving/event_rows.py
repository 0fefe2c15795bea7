"""Events as rows of the log's table, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from recsys.events import Click, Event, Impression, Interaction

COLUMNS = (
    "sequence", "event_id", "type", "ts", "received_us", "request_id", "user_id", "item_id", "items", "surface",
    "query", "list_sequence", "place", "told_at",
)  # fmt: skip
LIST_SEQUENCE, PLACE, TOLD_AT = (COLUMNS.index(name) for name in ("list_sequence", "place", "told_at"))

# What ``event_of`` reads, in its order.
READ = ("event_id", "type", "ts", "request_id", "user_id", "item_id", "items", "surface", "query")

Row = list[Any]


def row_of(event: Event, sequence: int, received_us: int) -> Row:
    """Return the event's row; a click's stands for one whose list is unknown."""
    if isinstance(event, Impression):
        items = json.dumps(event.item_ids, ensure_ascii=False)
        return [
            sequence, event.event_id, "impression", event.ts, received_us, event.request_id, event.user_id, None, items,
            event.surface, event.query, None, None, sequence,
        ]  # fmt: skip
    if isinstance(event, Click):
        return [
            sequence, event.event_id, "click", event.ts, received_us, event.request_id, None, event.item_id, None, None,
            None, None, None, None,
        ]  # fmt: skip
    return [
        sequence, event.event_id, event.type, event.ts, received_us, None, event.user_id, event.item_id, None, None,
        None, None, None, sequence,
    ]  # fmt: skip


def event_of(row: Sequence[Any]) -> Event:
    """Read an event from the columns ``READ``."""
    event_id, type_, ts, request_id, user_id, item_id, items, surface, query = row
    if type_ == "impression":
        return Impression(
            event_id=event_id,
            request_id=request_id,
            user_id=user_id,
            ts=ts,
            item_ids=tuple(json.loads(items)),
            surface=surface,
            query=query,
        )
    if type_ == "click":
        return Click(event_id=event_id, request_id=request_id, item_id=item_id, ts=ts)
    return Interaction(event_id=event_id, user_id=user_id, item_id=item_id, type=type_, ts=ts)
