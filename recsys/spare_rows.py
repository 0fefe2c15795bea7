"""Rows that hold what an item is no longer, for what it will be next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]


class SpareRows:
    """Keeps, by item, the rows that no id leads to any more, and gives one back when nobody reads it.

    Whoever looks up rows and reads them does both within ``reading``; any number of threads may. A row is left when
    neither an id nor a history leads to it any more: who begins after that does not come upon it, so it is free once
    all that began before have ended. (That is read-copy-update: P. McKenney, "Is Parallel Programming Hard?", 9.5.)
    One thread at a time leaves and takes rows.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._reading: set[int] = set()
        self._left: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have no row given back that could be come upon up to now, for as long as the block runs."""
        number = next(self._numbers)
        self._reading.add(number)
        try:
            yield
        finally:
            self._reading.discard(number)

    def leave(self, ids: Sequence[str], rows: Rows) -> None:
        """Take note of the rows [n] that held what items were; -1 where there was none."""
        number = next(self._numbers)
        for item_id, row in zip(ids, rows.tolist(), strict=True):
            if row >= 0:
                self._left.setdefault(item_id, []).append((number, row))

    def take(self, ids: Sequence[str], in_use: Callable[[], Collection[int]]) -> Rows:
        """Return a row for each item [n] that it has left and nobody reads, -1 without one; none of ``in_use()``."""
        rows = np.full(len(ids), -1, np.int32)
        oldest = min(self._reading.copy(), default=next(self._numbers))
        left = {place: found for place, item_id in enumerate(ids) if (found := self._left.get(item_id))}
        kept = in_use() if left else ()
        for place, found in left.items():
            free = (each for each in found if each[0] < oldest and each[1] not in kept)
            if (taken := next(free, None)) is not None:
                found.remove(taken)
                rows[place] = taken[1]
        return rows
