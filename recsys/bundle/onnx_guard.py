"""Refuses an ONNX graph that points outside itself, by walking its protobuf bytes; the onnx package is not needed.

Loading from bytes is no protection on its own: with graph optimisation off, ONNX Runtime then looks for external data
in the working directory.
"""

from __future__ import annotations

from recsys.errors import BundleError
from recsys.onnx_wire import MalformedError, fields

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
            for number, value in fields(message):
                if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                    raise BundleError(
                        f"{name} keeps weights in a file outside itself; export it with the weights inside"
                    )
                inner = _NESTED[kind].get(number)
                if inner and isinstance(value, memoryview):
                    pending.append((inner, value))
    except MalformedError as error:
        raise BundleError(f"{name} is not an ONNX model; export it again") from error
    if not graphs:
        raise BundleError(f"{name} holds no graph; export it again")
