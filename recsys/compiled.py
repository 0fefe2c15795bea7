"""How the loops over events and candidates are compiled: once per machine, to code that needs no interpreter."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def _sources() -> str:
    """Identify everything that may be compiled together: a changed callee makes the code of its callers stale."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted([Path(__file__), *Path(__file__).parent.glob("features/*.py")]):
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


def brief(function: F) -> F:
    """As ``compiled``, but Python's lock is kept: for what ends before the lock could be had again."""
    made: F = numba.njit(cache=True, error_model="numpy")(function)
    return made


def inlined(function: F) -> F:
    """Compile a small function into each of its callers, without counting references: that costs more than its work.

    It must not make arrays, only read and write those that it is given.
    """
    made: F = numba.njit(nogil=True, error_model="numpy", forceinline=True, _nrt=False)(function)
    return made


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def prefetch(_: Any, array: types.Array, row: types.Integer, at: types.Integer) -> Any:
    """Ask for the memory at a row of an array, ``at`` bytes behind its begin, without waiting for it."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = signature.args[0]
        held = context.make_array(kind)(context, builder, given[0])
        stride = cgutils.unpack_tuple(builder, held.strides, kind.ndim)[0]
        whole = [
            context.cast(builder, value, had, types.intp)
            for value, had in zip(given[1:], signature.args[1:], strict=True)
        ]
        place = builder.add(builder.mul(whole[0], stride), whole[1])
        pointer = builder.bitcast(cgutils.pointer_add(builder, held.data, place), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kinds = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kinds, "llvm.prefetch.p0")
        builder.call(function, [pointer, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, row, at), code
