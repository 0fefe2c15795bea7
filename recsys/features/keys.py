"""Who is who to the state: ids as 64-bit keys, and keys as places in a table."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from recsys.compiled import brief, compiled, inlined

Keys = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]

NOBODY = 0


@lru_cache(maxsize=1 << 16)
def key_of(text: str) -> int:
    """Return the key of an id; the same on every machine, and never ``NOBODY``. No id has the key ``NOBODY``."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True) or 1


def keys_of(texts: Iterable[str]) -> Keys:
    """Return the keys of ids, ``NOBODY`` for an empty one."""
    return np.array([key_of(text) if text else NOBODY for text in texts], dtype=np.int64)


def empty_index(room: int) -> tuple[Keys, Slots]:
    """Make an index for up to ``room`` keys: open addressing at most half full, so that a search ends soon."""
    cells = 1 << max(4, (2 * room - 1).bit_length())
    return np.zeros(cells, np.int64), np.full(cells, -1, np.int32)


@inlined
def find(cells: Keys, slots: Slots, key: int) -> int:
    """Return the slot of a key, -1 where it has none."""
    mask = cells.size - 1
    at = key & mask
    while cells[at] != 0:
        if cells[at] == key:
            return int(slots[at])
        at = (at + 1) & mask
    return -1


@compiled
def insert(cells: Keys, slots: Slots, key: int, slot: int) -> None:
    """Give a key that has none its slot; the index must have a free cell."""
    mask = cells.size - 1
    at = key & mask
    while cells[at] != 0:
        at = (at + 1) & mask
    cells[at] = key
    slots[at] = slot


@compiled
def remove(cells: Keys, slots: Slots, key: int) -> None:
    """Take a key out, moving up those behind it that could not stand where they belong."""
    mask = cells.size - 1
    hole = key & mask
    while cells[hole] != key:
        hole = (hole + 1) & mask
    at = (hole + 1) & mask
    while cells[at] != 0:
        home = cells[at] & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            cells[hole], slots[hole] = cells[at], slots[at]
            hole = at
        at = (at + 1) & mask
    cells[hole], slots[hole] = 0, -1


@brief
def find_all(cells: Keys, slots: Slots, keys: Keys) -> Slots:
    """Return the slot of each key, -1 where it has none."""
    found = np.empty(keys.size, np.int32)
    for place in range(keys.size):
        found[place] = find(cells, slots, keys[place]) if keys[place] != 0 else -1
    return found


@compiled
def append_all(cells: Keys, slots: Slots, keys: Keys, first: int) -> None:
    """Give ``keys[i]``, from ``first`` on, slot ``i``; a known key leads to the later one from now on."""
    mask = cells.size - 1
    for slot in range(first, keys.size):
        at = keys[slot] & mask
        while cells[at] != 0 and cells[at] != keys[slot]:
            at = (at + 1) & mask
        cells[at], slots[at] = keys[slot], slot


@compiled
def lead_all(cells: Keys, slots: Slots, keys: Keys, given: Slots) -> None:
    """Let each key lead to the slot ``given`` for it from now on; the index must have free cells for new ones."""
    mask = cells.size - 1
    for place in range(keys.size):
        at = keys[place] & mask
        while cells[at] != 0 and cells[at] != keys[place]:
            at = (at + 1) & mask
        cells[at], slots[at] = keys[place], given[place]
