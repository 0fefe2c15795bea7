"""The click head with the gather inside: rows of resident vectors come in, not the vectors themselves."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.errors import BundleError
from recsys.onnx_wire import MalformedError, field, fields

# Numbers of the fields that are needed, by message (onnx.proto).
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_INPUT = 7, 1, 5, 11
_VALUE_NAME, _VALUE_TYPE = 1, 2
_FLOAT, _INT64 = 1, 7

# What the head takes as vectors, and takes from rows here.
_GATHERED = ("candidates", "item_logits", "history")


def with_gather(head: bytes) -> bytes:
    """Put the gather in front of an exported click head; whatever bundle it is of.

    The graph then takes, in place of ``candidates``, ``item_logits`` and ``history``:

    - ``vectors`` float32 [C, D] and ``logits`` float32 [C], the resident ones;
    - ``own_vectors`` float32 [M, D] and ``own_logits`` float32 [M], of texts that came with the requests, M >= 1;
    - ``candidate_rows`` int64 [B, N] and ``history_rows`` int64 [B, H]: rows of the resident ones, or below 0 of the
      requests' own, counted from their end: -M is the first of them, -1 the last.

    Raises:
        BundleError: the bytes are no click head.
    """
    found: set[str] = set()
    try:
        parts = [
            field(number, _graph(value, found) if number == _MODEL_GRAPH and isinstance(value, memoryview) else value)
            for number, value in fields(memoryview(head))
        ]
    except MalformedError as error:
        raise BundleError("click_head.onnx is not an ONNX model; publish the bundle again") from error
    if found != set(_GATHERED):
        raise BundleError(f"click_head.onnx takes no {', '.join(sorted(set(_GATHERED) - found))}; train a new bundle")
    return b"".join(parts)


def identity_graph() -> bytes:
    """Return a graph that gives ``x`` float32 [n, d] as ``y``: it copies between memories, as its ends are bound."""
    ends = (_value("x", _FLOAT, "n", "d"), _value("y", _FLOAT, "n", "d"))
    graph = _node("Identity", ["x"], "y") + field(2, "copy") + field(_GRAPH_INPUT, ends[0]) + field(12, ends[1])
    return field(1, 8) + field(_MODEL_GRAPH, graph) + field(8, field(1, "") + field(2, 17))


def _graph(graph: memoryview, found: set[str]) -> bytes:
    """Rewrite the graph; its own nodes come last, since they follow from the new ones."""
    kept: list[bytes] = []
    nodes: list[bytes] = []
    for number, value in fields(graph):
        if number == _GRAPH_INPUT and isinstance(value, memoryview) and (name := _name(value)) in _GATHERED:
            found.add(name)
        else:
            (nodes if number == _GRAPH_NODE else kept).append(field(number, value))
    new = [
        *_gather("candidate_rows", {"candidates": "vectors", "item_logits": "logits"}),
        *_gather("history_rows", {"history": "vectors"}),
    ]
    inputs = (
        _value("vectors", _FLOAT, "rows", "width"),
        _value("logits", _FLOAT, "rows"),
        _value("own_vectors", _FLOAT, "own", "width"),
        _value("own_logits", _FLOAT, "own"),
        _value("candidate_rows", _INT64, "lists", "each"),
        _value("history_rows", _INT64, "lists", "entries"),
    )
    constants = (_integer("gather/zero", 0), _integer("gather/minus_one", -1), _integer("gather/last", -1, one=True))
    return b"".join(
        [
            *new,
            *nodes,
            *kept,
            *(field(_GRAPH_INPUT, each) for each in inputs),
            *(field(_GRAPH_TENSOR, each) for each in constants),
        ]
    )


def _gather(rows: str, tables: dict[str, str]) -> list[bytes]:
    """Take each output from its table where a row is >= 0, from the requests' own where it is below."""
    nodes = [
        _node("Max", [rows, "gather/zero"], f"{rows}/resident"),
        _node("Min", [rows, "gather/minus_one"], f"{rows}/own"),
        _node("Less", [rows, "gather/zero"], f"{rows}/is_own"),
        _node("Unsqueeze", [f"{rows}/is_own", "gather/last"], f"{rows}/is_own_wide"),
    ]
    for output, table in tables.items():
        theirs, ours = f"{output}/own", f"{output}/resident"
        mask = f"{rows}/is_own_wide" if table == "vectors" else f"{rows}/is_own"
        nodes += [
            _node("Gather", [table, f"{rows}/resident"], ours),
            _node("Gather", [f"own_{table}", f"{rows}/own"], theirs),
            _node("Where", [mask, theirs, ours], output),
        ]
    return nodes


def _name(value: memoryview) -> str:
    """Return the name of a graph's input."""
    names = [bytes(part) for number, part in fields(value) if number == _VALUE_NAME and isinstance(part, memoryview)]
    return names[-1].decode() if names else ""


def _node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    ends = b"".join(field(1, name) for name in inputs) + field(2, output)
    return field(_GRAPH_NODE, ends + field(3, f"gather:{output}") + field(4, operator))


def _value(name: str, kind: int, *axes: str) -> bytes:
    """Declare a tensor of named axes."""
    shape = b"".join(field(1, field(2, axis)) for axis in axes)
    return field(_VALUE_NAME, name) + field(_VALUE_TYPE, field(1, field(1, kind) + field(2, shape)))


def _integer(name: str, value: int, *, one: bool = False) -> bytes:
    """Declare a constant: a number, or a list of ``one``."""
    data = value.to_bytes(8, "little", signed=True)
    return (field(1, 1) if one else b"") + field(2, _INT64) + field(8, name) + field(9, data)
