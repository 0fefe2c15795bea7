"""Places for new keys in a table."""

from __future__ import annotations

import numpy as np

from recsys.features.keys import NOBODY, Keys, Slots, append_all, find_all
from recsys.features.tables import Table, grown
from recsys.gentle import rest


def placed(table: Table, keys: Keys, most: int | None) -> tuple[Slots, Table]:
    """Return the slots of keys, new ones behind the others while there is room; -1 for ``NOBODY`` and beyond."""
    found = find_all(table.cells, table.slots, keys)
    rest()
    missing = np.unique(keys[(found < 0) & (keys != NOBODY)], return_index=True)
    new = keys[(found < 0) & (keys != NOBODY)][np.sort(missing[1])]
    used = int(table.used[0])
    if most is not None:
        new = new[: max(most - used, 0)]
    if new.size:
        rest()
        table = grown(table, used + new.size)
        rest()
        table.keys[used : used + new.size] = new
        append_all(table.cells, table.slots, table.keys[: used + new.size], used)
        table.used[0] = used + new.size
        found = find_all(table.cells, table.slots, keys)
    return found, table
