"""The part of the state that some lists or events need, as tables that the loops read and change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.features.ground import Ground, Touched
from recsys.features.keys import NOBODY, Keys
from recsys.features.rows import Rows, from_rows, part_of_tables, to_rows
from recsys.features.tables import Tables
from serving.shared_state.rows import PARTNERS, ROW_TYPES, Found, Wanted

Slots = npt.NDArray[np.integer]


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


class Part:
    """Small tables: what was wanted, in the slots of its place there, and behind the items those that were cut.

    Categories and values stand at the catalog's own numbers. Without an answer everything is as if nothing had ever
    happened.
    """

    def __init__(self, ground: Ground, touched: Touched, wanted: Wanted, found: Found | None) -> None:
        further, first = np.zeros((2, 0), np.int64)
        if found is not None:
            further, first = np.unique(found.cut_keys, return_index=True)
            new = ~np.isin(further, wanted.items)
            further, first = further[new], first[new]
        self.keys: Mapping[str, Keys] = {
            "users": wanted.users,
            "items": np.concatenate([wanted.items, further]),
            "categories": wanted.categories,
            "surfaces": wanted.surfaces,
            "values": wanted.values,
        }
        self._slots: Mapping[str, Slots] = {
            name: np.arange(keys.size) for name, keys in self.keys.items() if name not in touched._fields
        } | touched._asdict()
        self.tables: Tables = part_of_tables(
            items=self.keys["items"],
            users=wanted.users,
            categories=ground.category_keys,
            surfaces=wanted.surfaces,
            values=ground.value_keys.size,
        )
        if found is not None:
            self._fill(found, wanted.items.size)
            self._fill_cut(found, wanted, first)

    def rows(self) -> dict[str, Rows]:
        """Write down the rows of ``keys``, by table."""
        found = {}
        for name, slots in self._slots.items():
            if name == "values":
                found[name] = self.tables.values[slots].astype("<i8").view(ROW_TYPES[name])[:, 0]
            else:
                found[name] = to_rows(getattr(self.tables, name), slots)
        return found

    def rest(self) -> tuple[bytes, bytes]:
        """Write down what has one row only: everything, and the places of lists."""
        overall = to_rows(self.tables.overall, np.zeros(1, np.int32))
        return overall.tobytes(), self.tables.places.astype("<i8").tobytes()

    def _fill(self, found: Found, items: int) -> None:
        tables = self.tables
        from_rows(tables.overall, np.zeros(1, np.int32), found.overall)
        tables.places[:] = found.places
        for name, fetched in found.tables.items():
            slots = self._slots[name][:items] if name == "items" else self._slots[name]
            if name == "values":
                tables.values[slots[fetched.there]] = fetched.rows["counts"]
            else:
                from_rows(getattr(tables, name), slots[fetched.there], fetched.rows)

    def _fill_cut(self, found: Found, wanted: Wanted, first: npt.NDArray[np.int64]) -> None:
        """Put what was cut behind the other items; ``first`` says where each key stands in the answer."""
        slots = wanted.items.size + np.arange(first.size)
        there = found.cut.there[first]
        rows = found.cut.rows[(np.cumsum(found.cut.there) - 1)[first[there]]]
        if wanted.cut is PARTNERS:
            from_rows(self.tables.items, slots[there], rows)
        else:
            self.tables.items.counts.totals[slots[there]] = rows["counts"]
