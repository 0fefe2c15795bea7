"""What the catalog says of its items, as arrays that grow with it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.columns import longer
from recsys.features.attributes import Floats, Numbers, Values, number_names, raw_numbers, value_names
from recsys.features.keys import Keys, Slots, empty_index, find_all, keys_of, lead_all
from recsys.features.learn import Facts
from recsys.gentle import resting


class CatalogFacts:
    """Attribute values and numbers by catalog row; the arrays have blank rows behind the last, for items to come.

    ``codes`` [I, M] are the values' codes, ``raw`` [I, N] the numbers, ``share`` [I, N] their place among all, ``keys``
    [I] the items' own keys and ``categories`` [I] those of their categories. ``row_cells`` and ``row_slots`` are an
    index that leads from an item's key to its newest row; ``items`` counts the different keys. What is read of a row
    stays until the row is read again.
    """

    codes: npt.NDArray[np.int32]
    raw: Floats
    share: Floats
    keys: Keys
    categories: Keys
    row_cells: Keys
    row_slots: Slots

    def __init__(self, catalog: Catalog) -> None:
        self.values = Values.read(catalog.items, value_names(catalog))
        self.numbers = Numbers.read(catalog.items, number_names(catalog))
        self.rows = self.items = 0
        columns, sizes = int(self.values.blocks[-1]), len(self.numbers.names)
        self.codes = np.full((1, columns), -1, np.int32)
        self.raw, self.share = np.full((1, sizes), np.nan), np.full((1, sizes), np.nan)
        self.keys, self.categories = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self.row_cells, self.row_slots = empty_index(1)
        rows = np.arange(len(catalog), dtype=np.int32)
        newest = catalog.current(rows) == rows
        self.read(catalog, np.concatenate([rows[~newest], rows[newest]]))

    def read(self, catalog: Catalog, rows: Slots) -> None:
        """Read what rows [n] of the catalog say: new ones, and such as say something else now."""
        items = catalog.at(rows)
        self.rows = len(catalog)
        self._make_room(self.rows + 1)
        self.codes[rows] = self.values.encode(items)
        self.raw[rows] = raw_numbers(items, self.numbers.names)
        self.share[rows] = self.numbers.shares(self.raw[rows])
        self.categories[rows] = keys_of(resting(items["category"]))
        self.keys[rows] = keys = keys_of(resting(items["item_id"]))
        self.items += int((find_all(self.row_cells, self.row_slots, np.unique(keys)) < 0).sum())
        lead_all(self.row_cells, self.row_slots, keys, rows)  # last: whoever finds a row finds all that it says

    def learnable(self, category: Slots) -> Facts:
        """Return what the loops read; ``category`` [I] are the slots of the rows' categories."""
        return Facts(category, self.codes, self.values.blocks, self.keys, self.row_cells, self.row_slots)

    def _make_room(self, rows: int) -> None:
        if rows > len(self.keys):
            # A catalog that is only read needs one blank row; one that grows doubles.
            room = rows if len(self.keys) == 1 else max(rows, 2 * len(self.keys))
            self.codes, self.raw = longer(self.codes, room, -1), longer(self.raw, room, np.nan)
            self.share = longer(self.share, room, np.nan)
            self.keys, self.categories = longer(self.keys, room), longer(self.categories, room)
            index, there = empty_index(room), self.row_cells != 0
            lead_all(*index, self.row_cells[there], self.row_slots[there])
            self.row_cells, self.row_slots = index
