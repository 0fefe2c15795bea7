"""The items that a model knows: rows by id, their texts, and their attributes as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.schema import MAX_TEXT_BYTES, ItemText

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
        """Return what the items say, in row order or in the order of ``rows``.

        String and list attributes (a brand, a director) are read as further tags, unless the category says them.
        """
        frame = self.items if rows is None else self.items[list(rows)]
        schema = frame.schema
        words = [name for name in self.attributes if schema[name] in (pl.String, pl.List(pl.String))]
        columns = [frame[name].to_list() for name in ("title", "description", "category", "tags", *words)]
        return [
            ItemText(title=title, description=description, category=category, tags=_tags(category, tags, further))
            for title, description, category, tags, *further in zip(*columns, strict=True)
        ]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Name the item table's further columns, in table order."""
        return tuple(name for name in self.items.columns if name not in ITEM_COLUMNS)


def _tags(category: str, tags: list[str], further: list[str | list[str] | None]) -> tuple[str, ...]:
    said = list(tags)
    for value in further:
        said.extend([value] if isinstance(value, str) else value or [])
    kept: list[str] = []
    room = MAX_TEXT_BYTES
    for tag in dict.fromkeys(said):
        room -= len(tag.encode()) + 1
        if tag and tag not in category and room >= 0:
            kept.append(tag)
    return tuple(kept)
