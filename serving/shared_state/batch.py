"""Events that are learned in one go: what they need of the shared state, and what they make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import groupby

import numpy as np
import numpy.typing as npt

from recsys.events import Click, Impression, Logged
from recsys.features.event_operations import event_operations
from recsys.features.ground import Ground
from recsys.features.keys import Keys, Slots, keys_of
from recsys.features.learn import PAIRED, SHOWN, Operations, learn
from recsys.features.rows import Rows
from serving.shared_state.part import Part, each_once, places_in
from serving.shared_state.rows import EVENT_BYTES, PARTNERS, Found, Wanted

# Enough to be fast, little enough that no ranking waits long while the store writes it.
MOST_EVENTS, MOST_ITEMS = 256, 2_048

Changed = dict[str, tuple[Keys, Rows]]


def batches(told: Iterable[Logged]) -> Iterator[list[Logged]]:
    """Cut what a log tells into batches; events of one sequence number stay together, because a log is known up to one.

    A click counts as many items as it may be paired with.
    """
    batch: list[Logged] = []
    items = 0
    for _, together in groupby(told, key=lambda logged: logged.sequence):
        group = list(together)
        weight = sum(len(each.event.item_ids) if isinstance(each.event, Impression) else PAIRED for each in group)
        if batch and (len(batch) + len(group) > MOST_EVENTS or items + weight > MOST_ITEMS):
            yield batch
            batch, items = [], 0
        batch += group
        items += weight
    if batch:
        yield batch


def mark_of(logged: Logged) -> bytes:
    """Name what happened, so that it counts once though several logs tell it.

    A list goes by its request, a click by its list and item, as within one log; anything else by its event id.
    """
    match logged.event:
        case Impression() as shown:
            told = ["list", shown.request_id]
        case Click() as click:
            told = ["click", click.request_id, click.item_id]
        case other:
            told = ["event", other.event_id]
    return blake2b("\0".join(told).encode(), digest_size=EVENT_BYTES).digest()


class Batch:
    """A batch as a question to the store, and its rows as they are afterwards."""

    def __init__(self, ground: Ground, told: Sequence[Logged]) -> None:
        self._ground = ground
        self._told = told
        self._slots = _Slots(ground)
        operations = self._operations(told)
        self._touched = ground.touched(operations.row)
        users = each_once(operations.user)
        self.wanted = Wanted(
            users=users,
            recall=np.isin(users, operations.user[operations.kind != SHOWN]),
            items=self._slots.items,
            categories=ground.category_keys[self._touched.categories],
            surfaces=self._slots.surfaces,
            values=ground.value_keys[self._touched.values],
            cut=PARTNERS,
            events=tuple(map(mark_of, told)),
        )

    @property
    def last(self) -> int:
        """The sequence number up to which the log is known with this batch."""
        return self._told[-1].sequence

    def learn(self, found: Found, heard: int) -> tuple[Changed, tuple[bytes, bytes], bytes]:
        """Learn what the store does not know, by sequence number or because another server has told it.

        Returns:
            Keys and rows that changed, by table; everything and the places; the marks of what was learned.
        """
        marks = zip(self._told, self.wanted.events, found.events.tolist(), strict=True)
        news = [(logged, mark) for logged, mark, known in marks if logged.sequence > heard and not known]
        part = Part(self._ground, self._touched, self.wanted, found)
        operations = self._operations([logged for logged, _ in news])
        before = part.rows()
        learn(part.tables, self._ground.learnable, operations, 0, operations.kind.size, max(self.wanted.users.size, 1))
        changed = {}
        for name, rows in part.rows().items():
            differs = _bytes(rows) != _bytes(before[name])
            places = np.flatnonzero(differs.any(axis=1))
            changed[name] = (part.keys[name][places], rows[places])
        return changed, part.rest(), b"".join(mark for _, mark in news)

    def _operations(self, told: Sequence[Logged]) -> Operations:
        return event_operations(self._slots, self._ground.catalog, told)


class _Slots:
    """Gives the items and surfaces of a batch their slots in a ``Part``; the first call has to name all of them."""

    items: Keys
    surfaces: Keys

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def item_slots(self, rows: Slots, strange: Keys | None = None) -> Slots:
        """Return the slots of catalog rows, and of strangers by their keys."""
        keys = self._ground.item_keys(rows)
        if strange is not None:
            keys = np.where(rows >= 0, keys, strange)
        if not hasattr(self, "items"):
            self.items = each_once(keys)
        return places_in(self.items, keys)

    def surface_slots(self, surfaces: list[str], *, place: bool) -> Slots:  # noqa: ARG002 - all are placed
        """Return the slots of surfaces."""
        keys = keys_of(surfaces)
        if not hasattr(self, "surfaces"):
            self.surfaces = each_once(keys)
        return places_in(self.surfaces, keys)


def _bytes(rows: Rows) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).reshape(rows.size, rows.dtype.itemsize)
