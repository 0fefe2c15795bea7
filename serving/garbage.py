"""Keeps Python's search for reference cycles away from what is loaded once and stays.

Each ranking makes some hundred short-lived objects, so the search runs often, and would go through all that a bundle
has each time. What is set aside is still freed when nobody refers to it any more, which bundles see to themselves; only
cycles among it would stay.
"""

from __future__ import annotations

import gc

# Objects made, less those freed, until the youngest are searched: some hundred rankings, instead of a few.
_YOUNGEST = 20_000


def set_aside(*, searched: bool = True) -> None:
    """Leave all objects that there are out of later searches; ``searched`` once more before, which takes a while."""
    if searched:
        gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNGEST, *gc.get_threshold()[1:])
