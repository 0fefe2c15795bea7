"""Refuses an ONNX graph that points outside itself, by walking its protobuf bytes; the onnx package is not needed.

Loading from bytes is no protection on its own: with graph optimisation off, ONNX Runtime then looks for external data
in the working directory.
"""

from __future__ import annotations

from collections.abc import Iterator

from recsys.errors import BundleError

# Which fields of which message hold further messages, on every path from the model to a tensor (onnx.proto).
_NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_ORT_FORMAT = b"ORTM"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _MalformedError(ValueError):
    """The bytes are no protobuf message."""


def check_onnx(name: str, graph: bytes) -> None:
    """Check that a serialised ONNX model carries all its weights within itself.

    Args:
        name: the file's name, for the message.
        graph: the serialised model.

    Raises:
        BundleError: it is no ONNX protobuf, holds no graph, or one of its tensors names external data.
    """
    if graph[4:8] == _ORT_FORMAT:  # ONNX Runtime would take it for its own format, and so not read what we check
        raise BundleError(f"{name} is in ONNX Runtime's own format; export it as ONNX")
    pending = [("model", memoryview(graph))]
    graphs = 0
    try:
        while pending:
            kind, message = pending.pop()
            graphs += kind == "graph"
            for number, value in _fields(message):
                if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                    raise BundleError(
                        f"{name} keeps weights in a file outside itself; export it with the weights inside"
                    )
                inner = _NESTED[kind].get(number)
                if inner and isinstance(value, memoryview):
                    pending.append((inner, value))
    except _MalformedError as error:
        raise BundleError(f"{name} is not an ONNX model; export it again") from error
    if not graphs:
        raise BundleError(f"{name} holds no graph; export it again")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field's number and value: an int for a varint, the raw bytes for everything else."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        wire = key & 7
        if not 8 <= key < 2**32:  # no field 0; and longer keys would be cut short by ONNX Runtime, so mean another one
            raise _MalformedError
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:  # groups: ONNX has none
            raise _MalformedError
        if length > end - at:
            raise _MalformedError
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Decode a base-128 number; return it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _MalformedError
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _MalformedError
