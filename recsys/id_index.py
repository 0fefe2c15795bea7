"""Rows by id, for a thousand ids at a time: an index of 64-bit hashes that is asked by one compiled loop.

A dictionary would have Python hash each id and follow three pointers to compare it. Here ids are compared by their
hashes alone, which a secret number goes into: that an unknown id is taken for a known one has a chance of one in 2^64
for each known one, and nobody outside can look for such ids.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.compiled import brief, inlined
from recsys.gentle import rest

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int32]

# FNV-1a's prime, over code points instead of bytes; then MurmurHash3's last steps, because FNV's low bits are weak.
_PRIME = np.uint64(0x100000001B3)
_MIX_1, _MIX_2, _SHIFT = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)
# Ids that are hashed in one go.
_AT_ONCE = 4_096


class IdIndex:
    """Leads from ids to rows; any number of threads ask while one changes it.

    ``ids`` is the list of the ids by row, kept by whoever has the index, and only ever appended to.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self._build(np.arange(len(ids), dtype=np.int32))

    def rows(self, ids: Sequence[str]) -> Rows:
        """Return the row of each id, -1 where it has none."""
        table = self._table
        found = np.empty(len(ids), np.int32)
        for begin in range(0, len(ids), _AT_ONCE):
            part = ids[begin : begin + _AT_ONCE]
            _find(table.cells, table.rows, *_letters(part), table.seed, found[begin : begin + _AT_ONCE])
        return found

    def put(self, rows: Rows) -> None:
        """Let the ids of some rows, none twice, lead to them."""
        table, ids = self._table, [self._ids[row] for row in rows.tolist()]
        found = [(row, item_id) for row, item_id in zip(self.rows(ids).tolist(), ids, strict=True) if row >= 0]
        before = [row for row, item_id in found if self._ids[row] == item_id]
        full = len(rows) > _AT_ONCE or 2 * (int(table.used[0]) + len(rows)) > len(table.cells)
        if full or len(before) < len(found) or not self._place(table, rows):
            others = table.rows[table.rows >= 0]
            self._build(np.concatenate([others[~np.isin(others, before)], rows]))

    def remove(self, ids: Sequence[str]) -> None:
        """Let ids lead nowhere."""
        table = self._table
        _put(table.cells, table.rows, table.used, *_letters(ids), table.seed, np.full(len(ids), -1, np.int32))

    def _place(self, table: _Table, rows: Rows) -> bool:
        """Write rows into a table that has room; False where two ids of one go have the same hash."""
        for begin in range(0, len(rows), _AT_ONCE):
            part = rows[begin : begin + _AT_ONCE]
            letters, ends = _letters([self._ids[row] for row in part.tolist()])
            _put(table.cells, table.rows, table.used, letters, ends, table.seed, part)
            found = np.empty(len(part), np.int32)
            _find(table.cells, table.rows, letters, ends, table.seed, found)
            if not np.array_equal(found, part):
                return False
            rest()
        return True

    def _build(self, rows: Rows) -> None:
        """Make the index anew, with room for as many again; with another secret where two ids have the same hash."""
        size = 1 << max(4, (2 * len(rows)).bit_length())
        while True:
            seed = np.uint64(secrets.randbits(64))
            table = _Table(np.zeros(size, np.uint64), np.full(size, -1, np.int32), np.zeros(1, np.int64), seed)
            if self._place(table, rows) and int(table.used[0]) == len(rows):
                self._table = table  # only now: whoever asks meanwhile asks the former one
                return


class _Table(NamedTuple):
    """Open addressing, at most half full; a cell is the hash of an id, 0 where there is none."""

    cells: Hashes
    rows: Rows
    used: npt.NDArray[np.int64]  # [1]
    seed: np.uint64


def _letters(ids: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return the code points of all ids, one after the other, and where each id ends."""
    letters = np.frombuffer("".join(ids).encode("utf-32-le", "surrogatepass"), np.uint32)
    return letters, np.cumsum(np.fromiter(map(len, ids), np.int64, len(ids)))


@inlined
def _hash(letters: npt.NDArray[np.uint32], begin: int, end: int, seed: np.uint64) -> np.uint64:
    """Hash the id whose letters stand from ``begin`` to ``end``; never 0."""
    value = seed
    for at in range(begin, end):
        value = (value ^ np.uint64(letters[at])) * _PRIME
    value = (value ^ (value >> _SHIFT)) * _MIX_1
    value = (value ^ (value >> _SHIFT)) * _MIX_2
    value ^= value >> _SHIFT
    return value if value != np.uint64(0) else np.uint64(1)


@inlined
def _cell(cells: Hashes, value: np.uint64) -> int:
    """Return where a hash stands, or would stand."""
    mask = cells.size - 1
    at = np.int64(value & np.uint64(mask))
    while cells[at] != np.uint64(0) and cells[at] != value:
        at = (at + 1) & mask
    return int(at)


@brief
def _find(
    cells: Hashes,
    rows: Rows,
    letters: npt.NDArray[np.uint32],
    ends: npt.NDArray[np.int64],
    seed: np.uint64,
    found: Rows,
) -> None:
    begin = 0
    for place in range(ends.size):
        value = _hash(letters, begin, ends[place], seed)
        at = _cell(cells, value)
        found[place] = rows[at] if cells[at] == value else -1
        begin = ends[place]


@brief
def _put(
    cells: Hashes,
    rows: Rows,
    used: npt.NDArray[np.int64],
    letters: npt.NDArray[np.uint32],
    ends: npt.NDArray[np.int64],
    seed: np.uint64,
    given: Rows,
) -> None:
    """Let ids lead to rows; one that is not there, and is to lead nowhere, is left out."""
    begin = 0
    for place in range(ends.size):
        value = _hash(letters, begin, ends[place], seed)
        at = _cell(cells, value)
        begin = ends[place]
        if cells[at] == value:
            rows[at] = given[place]
        elif given[place] >= 0:
            rows[at] = given[place]
            cells[at] = value  # last: who finds the hash finds the row
            used[0] += 1
