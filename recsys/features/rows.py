"""Rows of the state as bytes: all that is known of one key, in one layout wherever it is written and read."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from recsys.features.keys import Keys, append_all
from recsys.features.tables import PLACES, Ints, Items, Keyed, Table, Tables, Users, columns_of, empty_tables, grown

Rows = npt.NDArray[np.void]
Slotted = Items | Users | Keyed | Ints


def row_type(table: Slotted) -> np.dtype[np.void]:
    """Describe a row of a table: its columns one behind the other, without gaps, least significant byte first."""
    columns = columns_of(table).items()
    return np.dtype([(name, column.dtype.newbyteorder("<"), column.shape[1:]) for name, column in columns])


def to_rows(table: Slotted, slots: npt.NDArray[np.integer]) -> Rows:
    """Write down the rows of some slots."""
    rows = np.empty(slots.size, row_type(table))
    for name, column in columns_of(table).items():
        rows[name] = column[slots]
    return rows


def from_rows(table: Slotted, slots: npt.NDArray[np.integer], rows: Rows) -> None:
    """Put rows into some slots; the index of the table stays as it is."""
    for name, column in columns_of(table).items():
        column[slots] = rows[name]


def part_of_tables(*, items: Keys, users: Keys, categories: Keys, surfaces: Keys, values: int) -> Tables:
    """Make tables that hold these keys alone, each key in the slot of its place, and know nothing of them."""
    tables = empty_tables(values=values, items=max(items.size, 1), users=max(users.size, 1))
    return tables._replace(
        items=_holding(tables.items, items),
        users=_holding(tables.users, users),
        categories=_holding(tables.categories, categories),
        surfaces=_holding(tables.surfaces, surfaces),
    )


def layout() -> str:
    """Identify how rows are written; rows of another layout cannot be read."""
    tables = empty_tables(values=0)
    types = [row_type(table).descr for table in (tables.items, tables.users, tables.categories, tables.overall)]
    return hashlib.sha256(repr([types, PLACES]).encode()).hexdigest()[:16]


def _holding(table: Table, keys: Keys) -> Table:
    table = grown(table, keys.size)
    table.keys[: keys.size] = keys
    table.used[0] = keys.size
    append_all(table.cells, table.slots, table.keys[: keys.size], 0)
    return table
