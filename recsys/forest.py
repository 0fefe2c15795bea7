"""LightGBM's trees, scored many rows at a time, to the bit as LightGBM scores them.

QuickScorer (Lucchese et al., SIGIR 2015) by blocks of rows: a tree's leaves are bits, from left to right. A node whose
question a row answers with "greater" strikes out the leaves to its left; the first leaf that is left over is the row's.
Nodes are asked column by column, lowest threshold first, so a block stops at the first one that nobody exceeds, and all
rows of a block are asked by the same instruction.
"""

from __future__ import annotations

import threading
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from numba.cpython.unsafe.numbers import trailing_zeros

from recsys.compiled import compiled, inlined
from recsys.gentle import rest, resting

# A tree's leaves are the bits of one word.
MOST_LEAVES = 64
# Rows that are asked together: whole cache lines of them, up to what the nearer caches hold. A node costs more than a
# few rows do, so more rows at a time are fewer nodes.
_LINE_BYTES = 64
_LEAST_ROWS, _MOST_ROWS = _LINE_BYTES // 8, 128
# How a node takes a missing value, as LightGBM writes it in ``decision_type``.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING = 1, 2, 12
_MISSING_IS_NONE, _MISSING_IS_NAN = 0, 8

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_ALL = np.uint64((1 << MOST_LEAVES) - 1)


class NotForThis(Exception):
    """The model has a tree that this engine cannot score; says which kind."""


class Forest(NamedTuple):
    """The nodes of all trees by what they ask; K kinds of columns, M nodes, T trees.

    A kind is a column and what its missing values count as: 0, the smallest figure, or one beyond the largest (NaN).
    """

    columns: Ints  # [K]
    missing: Floats  # [K]
    begins: Ints  # [K + 1], where a kind's nodes begin
    thresholds: Floats  # [M], ascending within a kind
    trees: Ints  # [M]
    stays: Words  # [M], the leaves that stay when a row exceeds the threshold
    values: Floats  # [T, MOST_LEAVES], of the leaves from left to right

    @classmethod
    def from_text(cls, model: str) -> Self:
        """Read a model whose structure was checked (``recsys.ranker.check_model_text``).

        Raises:
            NotForThis: a tree has more than 64 leaves, categories, or zeros that count as missing.
        """
        blocks = model[: model.index("\nend of trees")].split("\nTree=")
        kinds: dict[tuple[int, float], list[tuple[float, int, int]]] = {}
        values = np.zeros((len(blocks) - 1, MOST_LEAVES))
        for tree, block in enumerate(blocks[1:]):
            rest()
            fields = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
            if int(fields["num_leaves"]) > MOST_LEAVES or fields.get("is_linear", "0") != "0":
                raise NotForThis(f"tree {tree} has more than {MOST_LEAVES} leaves, or is linear")
            leaf_values = [float(value) for value in fields["leaf_value"].split()]
            if len(leaf_values) == 1:
                values[tree, 0] = leaf_values[0]
                continue
            nodes = _Nodes(fields)
            leaves, left = nodes.left_to_right()
            values[tree, : len(leaves)] = [leaf_values[leaf] for leaf in leaves]
            for node in range(len(nodes.left)):
                first, last = left[node]
                stays = ~(((1 << (last - first)) - 1) << first) & ((1 << MOST_LEAVES) - 1)
                kinds.setdefault(nodes.kind(node), []).append((nodes.thresholds[node], tree, stays))
        asked = [(kind, sorted(kinds[kind])) for kind in resting(kinds, every=1)]
        flat = [node for _, found in asked for node in found]
        return cls(
            columns=np.array([column for (column, _), _ in asked], np.int64),
            missing=np.array([missing for (_, missing), _ in asked], np.float64),
            begins=np.cumsum([0, *(len(found) for _, found in asked)]).astype(np.int64),
            thresholds=np.fromiter((threshold for threshold, _, _ in resting(flat)), np.float64, len(flat)),
            trees=np.fromiter((tree for _, tree, _ in resting(flat)), np.int64, len(flat)),
            stays=np.fromiter((stays for _, _, stays in resting(flat)), np.uint64, len(flat)),
            values=values,
        )

    def score(self, table: npt.NDArray[np.float32]) -> Floats:
        """Return the sum of the trees for each row of [R, C]; shape [R]. Lets go of Python's lock meanwhile."""
        rows = max(1, len(table))
        blocks = -(-rows // _MOST_ROWS)
        block = -(-rows // (blocks * _LEAST_ROWS)) * _LEAST_ROWS
        words = _ROOM.words((len(self.values) + 1) * block).reshape(-1, block)
        scores = np.empty(len(table))
        _score(table, self, words[1:], words[0].view(np.float64), scores)
        return scores


class _Room(threading.local):
    """Memory of each thread's own that begins at a cache line, used again from call to call.

    Else what the processor takes at a time would mostly lie across two lines, and a call take a third longer.
    """

    def __init__(self) -> None:
        self._words = np.empty(0, np.uint64)

    def words(self, count: int) -> Words:
        """Return so many words; they hold anything."""
        if len(self._words) < count:
            held = np.empty(count + _LINE_BYTES // 8, np.uint64)
            first = -held.ctypes.data % _LINE_BYTES // 8
            self._words = held[first : first + count]
        return self._words[:count]


_ROOM = _Room()


class _Nodes:
    """The inner nodes of one tree; a child below zero is leaf ``~child``."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.left = [int(child) for child in fields["left_child"].split()]
        self.right = [int(child) for child in fields["right_child"].split()]
        self.thresholds = [float(threshold) for threshold in fields["threshold"].split()]
        self._columns = [int(column) for column in fields["split_feature"].split()]
        self._decisions = [int(decision) for decision in fields["decision_type"].split()]

    def kind(self, node: int) -> tuple[int, float]:
        """Return which column a node asks about, and what a missing value counts as there."""
        decision = self._decisions[node]
        missing = decision & _MISSING
        if decision & _CATEGORICAL or missing not in (_MISSING_IS_NONE, _MISSING_IS_NAN):
            raise NotForThis("a node asks for categories, or takes zeros for missing")
        if missing == _MISSING_IS_NONE:
            return self._columns[node], 0.0
        return self._columns[node], -np.inf if decision & _DEFAULT_LEFT else np.nan

    def left_to_right(self) -> tuple[list[int], dict[int, tuple[int, int]]]:
        """Return the leaves in order, and from where to where those left of each node stand."""
        leaves: list[int] = []
        left: dict[int, tuple[int, int]] = {}
        begun: dict[int, int] = {}
        waiting: list[tuple[int, bool]] = [(0, False)]
        while waiting:
            node, done_left = waiting.pop()
            if node < 0:
                leaves.append(~node)
            elif done_left:
                left[node] = (begun[node], len(leaves))
                waiting.append((self.right[node], False))
            else:
                begun[node] = len(leaves)
                waiting += [(node, True), (self.left[node], False)]
        return leaves, left


@compiled
def _score(table: npt.NDArray[np.float32], forest: Forest, left: Words, figures: Floats, scores: Floats) -> None:
    block = figures.size
    columns, missing, begins, values = forest.columns, forest.missing, forest.begins, forest.values
    for begin in range(0, table.shape[0], block):
        rows = min(block, table.shape[0] - begin)
        left[:] = _ALL
        for kind in range(columns.size):
            highest = -np.inf
            for row in range(block):
                figure = np.float64(table[begin + min(row, rows - 1), columns[kind]])
                figures[row] = missing[kind] if np.isnan(figure) else figure
                highest = max(highest, np.inf if np.isnan(figures[row]) else figures[row])
            _strike(
                forest.thresholds, forest.trees, forest.stays, begins[kind], begins[kind + 1], figures, highest, left
            )
        for row in range(rows):
            total = 0.0
            for tree in range(values.shape[0]):
                total += values[tree, trailing_zeros(left[tree, row])]
            scores[begin + row] = total


@inlined
def _strike(
    thresholds: Floats, trees: Ints, stays: Words, first: int, last: int, figures: Floats, highest: float, left: Words
) -> None:
    """Ask a block of rows the questions of one kind; a missing figure that goes right exceeds every threshold."""
    for node in range(first, last):
        threshold = thresholds[node]
        if threshold >= highest and highest < np.inf:
            break
        tree, kept = trees[node], stays[node]
        for row in range(left.shape[1]):
            left[tree, row] &= _ALL if figures[row] <= threshold else kept
