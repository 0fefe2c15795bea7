"""ONNX files field by field, in protobuf's wire format, so that neither protobuf nor the onnx package is needed."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class MalformedError(ValueError):
    """The bytes are no protobuf message."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field's number and value: an int for a varint, the raw bytes for everything else.

    Raises:
        MalformedError: the bytes are no message.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        wire = key & 7
        if not 8 <= key < 2**32:  # no field 0; and longer keys would be cut short by ONNX Runtime, so mean another one
            raise MalformedError
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:  # groups: ONNX has none
            raise MalformedError
        if length > end - at:
            raise MalformedError
        yield key >> 3, message[at : at + length]
        at += length


def field(number: int, value: int | str | bytes | memoryview) -> bytes:
    """Write one field: a varint for a whole number >= 0, else its bytes behind their length."""
    if isinstance(value, int):
        return _written(number << 3 | _VARINT) + _written(value)
    data = value.encode() if isinstance(value, str) else bytes(value)
    return _written(number << 3 | _BYTES) + _written(len(data)) + data


def _written(value: int) -> bytes:
    """Encode a number >= 0, seven bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Decode a base-128 number; return it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise MalformedError
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedError
