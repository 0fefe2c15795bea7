"""How the loops over events and candidates are compiled: once per machine, to code that needs no interpreter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Compiled code is kept beside its source; where that cannot be written, among the temporary files.
if not os.environ.get("NUMBA_CACHE_DIR") and not os.access(Path(__file__).parent, os.W_OK):
    numba.config.CACHE_DIR = str(Path(tempfile.gettempdir()) / f"recsys-compiled-{os.getuid()}")


def compiled(function: F) -> F:
    """Compile a function of numbers and arrays; the same source gives the same bits wherever it is called from."""
    made: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return made


def inlined(function: F) -> F:
    """Compile a small function into each of its callers: handing over all the tables costs more than its work."""
    made: F = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function)
    return made
