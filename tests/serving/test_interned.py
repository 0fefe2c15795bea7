"""A table of names that has grown at the start does not grow amid rankings; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

# Imports what a server does, and says how much was asked for at most while names came and went, in bytes.
_NAMES = """
import sys, tracemalloc
import recsys.pipeline, serving.server
from serving.interned import make_room
if {grown}: make_room()
tracemalloc.start()
for number in range(40_000):
    sys.intern(f"another name, number {{number}}")
print(tracemalloc.get_traced_memory()[1])
"""


def most(*, grown: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _NAMES.format(grown=grown)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_names_that_come_and_go_find_room() -> None:
    assert most(grown=True) < 100_000


def test_the_control_a_table_that_was_not_grown_grows_then() -> None:
    assert most(grown=False) > 1_000_000
