"""The part of the state that some lists or events need, as tables that the loops read and change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.features.ground import Ground
from recsys.features.keys import NOBODY, Keys
from recsys.features.rows import Rows, from_rows, part_of_tables, to_rows
from recsys.features.tables import Tables
from recsys.features.windows import TOTALS
from serving.shared_state.rows import PAGE, ROW_TYPES, Fetched, Found, Wanted

Slots = npt.NDArray[np.integer]
_FIRST = np.zeros(1, np.int32)


def each_once(keys: Keys) -> Keys:
    """Return keys ascending, each once, without ``NOBODY``."""
    distinct: Keys = np.unique(keys[keys != NOBODY])
    return distinct


def places_in(sorted_keys: Keys, keys: Keys) -> npt.NDArray[np.int32]:
    """Return where each key stands, -1 for ``NOBODY`` and those that are not there."""
    if not sorted_keys.size:
        return np.full(keys.size, -1, np.int32)
    places = np.minimum(np.searchsorted(sorted_keys, keys), sorted_keys.size - 1)
    return np.where(sorted_keys[places] == keys, places, -1).astype(np.int32)


def pages_of(codes: npt.NDArray[np.integer]) -> Keys:
    """Return the keys of the pages on which attribute values are counted; no page is ``NOBODY``."""
    pages: Keys = np.unique(codes // PAGE).astype(np.int64) + 1
    return pages


class Part:
    """Small tables: what was wanted, in the slots of its place there, and behind the items those that were chosen.

    Categories and values stand at the catalog's own numbers. Without an answer everything is as if nothing had ever
    happened.
    """

    def __init__(self, ground: Ground, wanted: Wanted, found: Found | None) -> None:
        further, first = np.zeros((2, 0), np.int64)
        if found is not None:
            further, first = np.unique(found.chosen, return_index=True)
            new = ~np.isin(further, wanted.items)
            further, first = further[new], first[new]
        self._wanted = wanted
        self._slots: Mapping[str, Slots] = {
            "users": np.arange(wanted.users.size),
            "items": np.arange(wanted.items.size),
            "categories": ground.category_numbers(wanted.categories),
            "surfaces": np.arange(wanted.surfaces.size),
        }
        pages = -(-ground.value_keys.size // PAGE)
        self.tables: Tables = part_of_tables(
            items=np.concatenate([wanted.items, further]),
            users=wanted.users,
            categories=ground.category_keys,
            surfaces=wanted.surfaces,
            values=pages * PAGE,
        )
        self._pages = self.tables.values.reshape(pages, PAGE, 2)
        if found is not None:
            from_rows(self.tables.overall, _FIRST, found.overall)
            self.tables.places[:] = found.places["counts"][0]
            for table, fetched in found.tables.items():
                self._fill(table, fetched)
            self.tables.items.counts[wanted.items.size :][: first.size, TOTALS : TOTALS + 2] = found.totals[first]

    def rows(self) -> dict[str, Rows]:
        """Write down the rows of what was wanted, by table."""
        pages = np.zeros(self._wanted.values.size, ROW_TYPES["values"])
        pages["keys"], pages["counts"] = self._wanted.values, self._pages[self._wanted.values - 1]
        return {name: to_rows(getattr(self.tables, name), slots) for name, slots in self._slots.items()} | {
            "values": pages
        }

    def overall(self) -> bytes:
        """Write down the row of everything."""
        return to_rows(self.tables.overall, _FIRST).tobytes()

    def places(self) -> bytes:
        """Write down the row of the places of lists."""
        return self.tables.places.astype("<i8").tobytes()

    def _fill(self, table: str, fetched: Fetched) -> None:
        if table == "values":
            self._pages[self._wanted.values[fetched.there] - 1] = fetched.rows["counts"]
        else:
            from_rows(getattr(self.tables, table), self._slots[table][fetched.there], fetched.rows)
