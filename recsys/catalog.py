"""The items that a model knows: rows by id, their texts, and their attributes as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.schema import ItemText

# The columns of an item table that the product itself gives a meaning; all others are attributes.
ITEM_COLUMNS = ("item_id", "title", "description", "category", "tags", "published_at")


class Catalog:
    """An item table (see ``recsys.dataset``) with an index from item id to row; row -1 stands for an unknown item."""

    def __init__(self, items: pl.DataFrame) -> None:
        self.items = items
        self.ids: list[str] = items["item_id"].to_list()
        self._row = {item_id: row for row, item_id in enumerate(self.ids)}

    def __len__(self) -> int:
        """Count the items."""
        return len(self.ids)

    def rows(self, item_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return the row of each id, -1 where the catalog does not know it."""
        row = self._row
        return np.array([row.get(item_id, -1) for item_id in item_ids], dtype=np.int32)

    def texts(self, rows: Sequence[int] | None = None) -> list[ItemText]:
        """Return what the items say, in row order or in the order of ``rows``."""
        frame = self.items if rows is None else self.items[list(rows)]
        columns = (frame["title"], frame["description"], frame["category"], frame["tags"])
        return [
            ItemText(title=title, description=description, category=category, tags=tuple(tags))
            for title, description, category, tags in zip(*columns, strict=True)
        ]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Name the item table's further columns, in table order."""
        return tuple(name for name in self.items.columns if name not in ITEM_COLUMNS)
