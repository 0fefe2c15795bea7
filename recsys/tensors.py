"""Reads safetensors without copying them, so that no other thread of a server stands still meanwhile.

The library's own reader copies all bytes at once and holds Python's lock for it: 0.4 ms a megabyte, in which nobody is
answered, where a bundle is loaded beside one that serves.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_LENGTH = 8


def read_tensors(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a safetensors file by name, as read-only views of its bytes.

    The format: huggingface.co/docs/safetensors. What is refused is what the library refuses: a header that is none,
    sizes that do not fit shapes, and bytes that are of no array or of two.

    Raises:
        ValueError: the bytes are something else.
    """
    length = int.from_bytes(data[:_LENGTH], "little")
    begin = _LENGTH + length
    if len(data) < _LENGTH or begin > len(data):
        raise ValueError("the header is longer than the file")
    try:
        header = json.loads(bytes(data[_LENGTH:begin]))
    except RecursionError:
        raise ValueError("the header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("the header is no object")  # noqa: TRY004 - it is the file that is wrong, not a caller
    header.pop("__metadata__", None)
    arrays, ends = {}, begin
    for name, entry in sorted(header.items(), key=lambda named: _offsets(named[1])):
        (first, last), shape, dtype = (
            _offsets(entry),
            _shape(entry),
            np.dtype(_DTYPES.get(str(entry.get("dtype")), "O")),
        )
        if dtype.hasobject:
            raise ValueError("an array is of a kind that is not read here")
        if begin + first != ends or last - first != math.prod(shape) * dtype.itemsize:
            raise ValueError("an array is not where, or as long as, the header says")
        ends = begin + last
        if ends > len(data):
            raise ValueError("an array goes beyond the file")
        arrays[name] = np.frombuffer(data, dtype, math.prod(shape), begin + first).reshape(shape)
    if ends != len(data):
        raise ValueError("there are bytes that are of no array")
    return arrays


def _offsets(entry: Any) -> tuple[int, int]:
    """Return where an array begins and ends behind the header."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (
        isinstance(offsets, list) and len(offsets) == 2 and all(type(each) is int and each >= 0 for each in offsets)
    ):
        raise ValueError("an array has no place")
    return offsets[0], offsets[1]


def _shape(entry: dict[str, Any]) -> tuple[int, ...]:
    shape = entry.get("shape")
    if not (isinstance(shape, list) and all(type(each) is int and each >= 0 for each in shape)):
        raise ValueError("an array has no shape")
    return tuple(shape)
