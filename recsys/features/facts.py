"""What the catalog says of its items, as arrays that grow with it; no row changes once it is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.features.attributes import Floats, Numbers, Values, number_names, raw_numbers, value_names
from recsys.features.keys import Keys, keys_of
from recsys.gentle import resting


class CatalogFacts:
    """Attribute values and numbers by catalog row; the arrays have blank rows behind the last, for items to come.

    ``codes`` [I, M] are the values' codes, ``raw`` [I, N] the numbers, ``share`` [I, N] their place among all, ``keys``
    [I] the items' own keys and ``categories`` [I] those of their categories.
    """

    codes: npt.NDArray[np.int32]
    raw: Floats
    share: Floats
    keys: Keys
    categories: Keys

    def __init__(self, catalog: Catalog) -> None:
        self.values = Values.read(catalog.items, value_names(catalog))
        self.numbers = Numbers.read(catalog.items, number_names(catalog))
        self.rows = 0
        columns, sizes = int(self.values.blocks[-1]), len(self.numbers.names)
        self.codes = np.full((1, columns), -1, np.int32)
        self.raw, self.share = np.full((1, sizes), np.nan), np.full((1, sizes), np.nan)
        self.keys, self.categories = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self.read(catalog)

    def read(self, catalog: Catalog) -> None:
        """Read the rows that the catalog has gained."""
        items = catalog.items[self.rows :]
        old, self.rows = self.rows, self.rows + items.height
        self._make_room(self.rows + 1)
        new = slice(old, self.rows)
        self.codes[new] = self.values.encode(items)
        self.raw[new] = raw_numbers(items, self.numbers.names)
        self.share[new] = self.numbers.shares(self.raw[new])
        self.categories[new] = keys_of(resting(items["category"]))
        self.keys[new] = keys_of(resting(items["item_id"]))

    def _make_room(self, rows: int) -> None:
        if rows > len(self.keys):
            # A catalog that is only read needs one blank row; one that grows doubles.
            room = rows if len(self.keys) == 1 else max(rows, 2 * len(self.keys))
            self.codes, self.raw = _longer(self.codes, room, -1), _longer(self.raw, room, np.nan)
            self.share = _longer(self.share, room, np.nan)
            self.keys, self.categories = _longer(self.keys, room, 0), _longer(self.categories, room, 0)


def _longer(column: npt.NDArray[Any], room: int, blank: float) -> npt.NDArray[Any]:
    longer = np.full((room, *column.shape[1:]), blank, column.dtype)
    longer[: len(column)] = column
    return longer
