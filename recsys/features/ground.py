"""What the catalog says, as the loops over events and candidates need it, for tables that hold some rows only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.columns import longer
from recsys.features.facts import CatalogFacts
from recsys.features.keys import NOBODY, Keys, Slots, find_all
from recsys.features.learn import Facts


class Touched(NamedTuple):
    """What some catalog rows have a part in: the numbers of their categories and the codes of their values, sorted."""

    categories: npt.NDArray[np.intp]
    values: npt.NDArray[np.intp]


class Ground:
    """The catalog's facts, every category under a number of its own; may be asked while it reads further rows.

    Whoever shares ``facts`` must leave reading to this.
    """

    def __init__(self, catalog: Catalog, facts: CatalogFacts) -> None:
        self.catalog = catalog
        self.facts = facts
        self.value_keys = self.facts.values.keys()
        self.category_keys: Keys = np.zeros(0, np.int64)
        self._number: dict[int, int] = {}
        self._category = np.zeros(0, np.int32)
        self.learnable: Facts
        self._read(np.arange(facts.rows, dtype=np.int32))

    def items_changed(self, rows: Slots) -> None:
        """Read rows [n] of the catalog that are new, or say something else now."""
        self.facts.read(self.catalog, rows)
        self._read(rows)

    def category_numbers(self, keys: Keys) -> npt.NDArray[np.intp]:
        """Return the numbers of categories that some items have."""
        return np.array([self._number[key] for key in keys.tolist()], np.intp)

    def touched(self, rows: npt.NDArray[np.integer]) -> Touched:
        """Say which categories and values catalog rows have; unknown rows (-1) have none."""
        known = rows[rows >= 0]
        # The last place stands for none, whose number is -1.
        categories = np.zeros(self.category_keys.size + 1, np.bool_)
        categories[self.learnable.category[known]] = True
        values = np.zeros(self.value_keys.size + 1, np.bool_)
        values[self.learnable.codes[known]] = True
        return Touched(np.flatnonzero(categories[:-1]), np.flatnonzero(values[:-1]))

    def item_keys(self, rows: Slots) -> Keys:
        """Return the items' keys, ``NOBODY`` for an unknown row."""
        return np.where(rows >= 0, self.facts.keys[rows], NOBODY)

    def knows(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Tell which keys are those of items in the catalog."""
        known: npt.NDArray[np.bool_] = find_all(self.learnable.row_cells, self.learnable.row_slots, keys) >= 0
        return known

    def _read(self, rows: Slots) -> None:
        facts = self.facts
        if (room := len(facts.keys)) > len(self._category):
            self._category = longer(self._category, room, -1)
        distinct, places = np.unique(facts.categories[rows], return_inverse=True)
        numbers = [
            -1 if key == NOBODY else self._number.setdefault(key, len(self._number)) for key in distinct.tolist()
        ]
        self.category_keys = np.array(list(self._number), np.int64)
        self._category[rows] = np.array(numbers, np.int32)[places]
        self.learnable = facts.learnable(self._category)
