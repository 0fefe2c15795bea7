"""Has Python's table of interned strings reach its size before anybody is answered.

What a server imports interns some 85,000 names, which nearly fills the table. Names that come and go, of files and of
columns, fill the rest within the first hour; then all are copied into a table twice as large, which takes 2 MiB more,
amid rankings. After that there is room for half as many again, and a full table is copied into one of the same size.
"""

from __future__ import annotations

import sys

# More than are free in the table of some 44,000 to 87,000 names, fewer than in the next one.
_NAMES = 45_000


def make_room() -> None:
    """Use up what is free in the table, by names that go at once."""
    for number in range(_NAMES):
        sys.intern(f"a name that goes at once, number {number}")
