"""Events as they are logged, as operations: the online counterpart of ``log_operations``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.catalog import Catalog
from recsys.events import Click, Impression, Interaction, Logged
from recsys.features.keys import key_of, keys_of
from recsys.features.learn import ACTED, CLICKED, SHOWN, Operations
from recsys.features.log_operations import PlacesKeys
from recsys.schema import ACTION_CODE


def event_operations(state: PlacesKeys, catalog: Catalog, told: Sequence[Logged]) -> Operations:
    """Encode events in the order in which they are told, each of its own moment."""
    items: list[str] = []
    table: list[tuple[int, int, str, str, int, int, int, int, int]] = []
    for logged in told:
        event, start = logged.event, len(items)
        match event:
            case Impression():
                items.extend(event.item_ids)
                head = (SHOWN, event.ts, event.user_id, event.surface)
                table.append((*head, start, len(items), event.ts, 0, 0))
            case Click():
                shown = logged.shown
                assert shown is not None  # noqa: S101  # the log tells no click without its list
                items.append(event.item_id)
                place = shown.item_ids.index(event.item_id)
                head = (CLICKED, event.ts, shown.user_id, shown.surface)
                table.append((*head, start, start + 1, shown.ts, place, 0))
            case Interaction():
                items.append(event.item_id)
                head = (ACTED, event.ts, event.user_id, "")
                table.append((*head, start, start + 1, event.ts, 0, ACTION_CODE[event.type]))
    kind, ts, users, surfaces, first, last, shown_ts, places, actions = zip(*table, strict=True) if table else ((),) * 9
    rows = catalog.rows(items)
    unknown = np.flatnonzero(rows < 0)
    strange = np.zeros(rows.size, np.int64)
    strange[unknown] = [key_of(items[place]) for place in unknown]
    return Operations(
        kind=np.array(kind, np.int8),
        ts=np.array(ts, np.int64),
        user=keys_of(users),
        surface=state.surface_slots(list(surfaces), place=True),
        start=np.array(first, np.int64),
        stop=np.array(last, np.int64),
        shown_ts=np.array(shown_ts, np.int64),
        place=np.array(places, np.int32),
        action=np.array(actions, np.int8),
        item=state.item_slots(rows, strange),
        row=rows,
    )
