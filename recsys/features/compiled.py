"""How the loops over events and candidates are compiled: once per machine, to code that needs no interpreter."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def _sources() -> str:
    """Identify everything that may be compiled together: a changed callee makes the code of its callers stale."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _cache() -> Path:
    """Choose where compiled code is kept: beside its source, or for this user where that cannot be written."""
    beside = Path(__file__).parent / "__pycache__"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside / f"compiled-{_sources()}"
    return Path(tempfile.gettempdir()) / f"recsys-{os.getuid()}" / f"compiled-{_sources()}"


if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = str(_cache())


def compiled(function: F) -> F:
    """Compile a function of numbers and arrays; the same source gives the same bits wherever it is called from."""
    made: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return made


def inlined(function: F) -> F:
    """Compile a small function into each of its callers: handing over all the tables costs more than its work."""
    made: F = numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
    return made
