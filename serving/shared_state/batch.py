"""Events that are learned in one go: what they need of the shared state, and what they make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import groupby

import numpy as np
import numpy.typing as npt

from recsys.events import Click, Impression, Logged
from recsys.features.event_operations import event_operations
from recsys.features.ground import Ground
from recsys.features.keys import Keys, Slots, keys_of
from recsys.features.learn import SHOWN, Operations, learn
from recsys.features.remember import PAIRED
from recsys.features.rows import Rows
from serving.shared_state.part import Part, each_once, pages_of, places_in
from serving.shared_state.rows import Found, Wanted

# Enough to be fast, little enough that no ranking waits long while the store writes it.
MOST_EVENTS, MOST_ITEMS = 256, 2_048
MARK_BYTES = 16


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
    parts = [part.encode() for part in told]
    # With their lengths, or parts that hold whatever stands between them would be told as one another.
    whole = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return blake2b(whole, digest_size=MARK_BYTES).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Rows that changed, by table; the row of everything and that of places; the marks of what was learned."""

    changed: dict[str, Rows]
    overall: bytes
    places: bytes
    marks: list[bytes]


class Batch:
    """A batch as questions to the store, and its rows as they are afterwards.

    There are two questions: ``wanted``, and then, with its answer, ``items``, because what users liked before is paired
    with what they choose now.
    """

    def __init__(self, ground: Ground, told: Sequence[Logged]) -> None:
        self._ground = ground
        self._told = told
        self._slots = _Slots(ground)
        operations = self._operations(told)
        touched = ground.touched(operations.row)
        users = each_once(operations.user)
        self._choose = np.isin(users, operations.user[operations.kind != SHOWN])
        self._items = self._slots.items
        self.last = told[-1].sequence
        self.wanted = Wanted(
            users=users,
            categories=ground.category_keys[touched.categories],
            surfaces=self._slots.surfaces,
            values=pages_of(touched.values),
            marks=tuple(map(mark_of, told)),
        )

    def items(self, found: Found) -> Wanted:
        """Return the question for all items that are concerned."""
        users = found.tables["users"]
        liked = users.rows["liked_items"][self._choose[users.there], :PAIRED]
        return Wanted(items=each_once(np.concatenate([self._items, liked.ravel()])))

    def learn(self, found: Found, items: Found, heard: int) -> Learned:
        """Learn what the store does not know, be it by sequence number or because another server has told it."""
        wanted = replace(self.wanted, items=self.items(found).items)
        part = Part(self._ground, wanted, replace(found, tables={**found.tables, "items": items.tables["items"]}))
        marked = zip(self._told, wanted.marks, found.learned.tolist(), strict=True)
        news = [(logged, mark) for logged, mark, known in marked if logged.sequence > heard and not known]
        self._slots.items = wanted.items
        operations = self._operations([logged for logged, _ in news])
        before = part.rows()
        learn(part.tables, self._ground.learnable, operations, 0, operations.kind.size, max(wanted.users.size, 1))
        changed = {table: rows[_differs(rows, before[table])] for table, rows in part.rows().items()}
        return Learned(changed=changed, overall=part.overall(), places=part.places(), marks=[mark for _, mark in news])

    def _operations(self, told: Sequence[Logged]) -> Operations:
        return event_operations(self._slots, self._ground.catalog, told)


class _Slots:
    """Gives items and surfaces their places among those of a batch; the first call has to name all of them."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.items: Keys = np.zeros(0, np.int64)
        self.surfaces: Keys = np.zeros(0, np.int64)

    def item_slots(self, rows: Slots, strange: Keys | None = None) -> Slots:
        """Return the slots of catalog rows, and of strangers by their keys."""
        keys = self._ground.item_keys(rows)
        if strange is not None:
            keys = np.where(rows >= 0, keys, strange)
        if not self.items.size:
            self.items = each_once(keys)
        return places_in(self.items, keys)

    def surface_slots(self, surfaces: list[str], *, place: bool) -> Slots:  # noqa: ARG002 - all are placed
        """Return the slots of surfaces."""
        keys = keys_of(surfaces)
        if not self.surfaces.size:
            self.surfaces = each_once(keys)
        return places_in(self.surfaces, keys)


def _differs(rows: Rows, before: Rows) -> npt.NDArray[np.bool_]:
    shape = (rows.size, rows.dtype.itemsize)
    differs: npt.NDArray[np.bool_] = (rows.view(np.uint8).reshape(shape) != before.view(np.uint8).reshape(shape)).any(1)
    return differs
