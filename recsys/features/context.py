"""What the features of a chunk of lists are computed from; each intermediate is computed once, when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats, Numbers, Values
from recsys.features.build import Logs
from recsys.features.log import Ints
from recsys.lists import Lists

HOUR = 3_600_000_000  # microseconds
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that does not depend on the question: the logs, the item table as arrays, and who is who.

    ``item_of_row`` gives the logs' item code of each catalog row (the last: an unknown item, -1) and ``row_of_item``
    the way back; a catalog may have grown since the logs were built.
    """

    logs: Logs
    values: Values
    numbers: Numbers
    user_of_id: dict[str, int]
    item_of_row: npt.NDArray[np.int32]
    row_of_item: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """L lists of R rows, and the past as each list may know it: strictly before its own moment."""

    world: World
    lists: Lists
    rows: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    list_of_row: Ints
    users: Ints
    ticks: Ints
    known: dict[Callable[[Context], Any], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World, lists: Lists) -> Context:
        """Look up who and what the lists name."""
        user_of_id = world.user_of_id
        return cls(
            world=world,
            lists=lists,
            rows=lists.item_rows,
            items=world.item_of_row[lists.item_rows],
            list_of_row=lists.list_of_row,
            users=np.array([user_of_id.get(user_id, -1) for user_id in lists.user_ids], dtype=np.int64),
            ticks=np.searchsorted(world.logs.axis, lists.ts),
        )

    def get(self, compute: Callable[[Context], T]) -> T:
        """Return ``compute(self)``, computed at most once."""
        if compute not in self.known:
            self.known[compute] = compute(self)
        found: T = self.known[compute]
        return found

    def per_row(self, per_list: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Repeat a figure of each list for each of its rows."""
        return per_list[self.list_of_row]

    def since(self, hours: float) -> Ints:
        """Return the first tick of the window of that length; shape [L]."""
        return np.searchsorted(self.world.logs.axis, self.lists.ts - int(hours * HOUR))

    def where_known(self, figures: npt.NDArray[Any]) -> Floats:
        """Blank the rows whose item the catalog does not know."""
        return np.where(self.rows >= 0, figures, np.nan)


def prior(context: Context) -> Floats:
    """Return the click rate of everything, as each list may know it; shape [L]."""
    views, clicks = context.world.logs.overall.before(np.zeros_like(context.ticks), context.ticks).T
    rate: Floats = (clicks + 1) / (views + 10)
    return rate
