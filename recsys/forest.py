"""LightGBM's trees, scored many rows at a time, to the bit as LightGBM scores them.

QuickScorer (Lucchese et al., SIGIR 2015) by blocks of rows and groups of trees: a tree's leaves are bits, from left to
right. A node whose question a row answers with "greater" strikes out the leaves to its left; the first leaf that is
left over is the row's. Nodes are asked column by column, lowest threshold first: those that all rows of a block exceed
strike for all at once, those from the first on that nobody exceeds are left out, and between them one instruction asks
many rows.
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
# Trees whose leaves are struck out together.
_GROUP = 64
# How a node takes a missing value, as LightGBM writes it in ``decision_type``.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING = 1, 2, 12
_MISSING_IS_NONE, _MISSING_IS_NAN = 0, 8

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_ALL = np.uint64((1 << MOST_LEAVES) - 1)


class NotForThis(Exception):
    """The model has a tree that this engine cannot score; says which kind."""


class Forest(NamedTuple):
    """The nodes of all trees by what they ask; K kinds of columns, M nodes, T trees in G groups.

    A kind is a column and what its missing values count as: 0, the smallest figure, or one beyond the largest (NaN).
    """

    columns: Ints  # [K]
    missing: Singles  # [K]
    begins: Ints  # [G * K + 1], where a group's nodes of a kind begin
    thresholds: Singles  # [M], ascending within a kind; figures are float32, so that no more is needed
    trees: npt.NDArray[np.int32]  # [M], within the group
    stays: Words  # [M], the leaves that stay when a row exceeds the threshold
    values: Floats  # [T, MOST_LEAVES], of the leaves from left to right

    @classmethod
    def from_text(cls, model: str) -> Self:
        """Read a model whose structure was checked (``recsys.ranker.check_model_text``).

        Raises:
            NotForThis: a tree has more than 64 leaves, categories, or zeros that count as missing.
        """
        blocks = model[: model.index("\nend of trees")].split("\nTree=")
        values = np.zeros((len(blocks) - 1, MOST_LEAVES))
        groups: list[dict[tuple[int, float], list[tuple[float, int, int]]]] = [
            {} for _ in range(0, len(values), _GROUP)
        ]
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
                found = groups[tree // _GROUP].setdefault(nodes.kind(node), [])
                found.append((nodes.thresholds[node], tree % _GROUP, stays))
        kinds = list(dict.fromkeys(kind for group in groups for kind in group))
        asked = [sorted(group.get(kind, ())) for group in groups for kind in resting(kinds, every=1)]
        flat = [node for found in asked for node in found]
        thresholds = np.fromiter((threshold for threshold, _, _ in resting(flat)), np.float64, len(flat))
        return cls(
            columns=np.array([column for column, _ in kinds], np.int64),
            missing=np.array([missing for _, missing in kinds], np.float32),
            begins=np.cumsum([0, *map(len, asked)]).astype(np.int64),
            thresholds=_rounded_down(thresholds),
            trees=np.fromiter((tree for _, tree, _ in resting(flat)), np.int32, len(flat)),
            stays=np.fromiter((stays for _, _, stays in resting(flat)), np.uint64, len(flat)),
            values=values,
        )

    def score(self, table: npt.NDArray[np.float32]) -> Floats:
        """Return the sum of the trees for each row of [R, C]; shape [R]. Lets go of Python's lock meanwhile."""
        rows = max(1, len(table))
        blocks = -(-rows // _MOST_ROWS)
        block = -(-rows // (blocks * _LEAST_ROWS)) * _LEAST_ROWS
        kinds, trees = len(self.columns), max(1, min(_GROUP, len(self.values)))
        words = _ROOM.words((trees + kinds) * block)
        left = words[: trees * block].reshape(trees, block)
        figures = words[trees * block :].view(np.float32)[: kinds * block].reshape(kinds, block)
        scores = np.zeros(len(table))
        _score(table, self, left, figures, np.empty((2, kinds), np.float32), scores)
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


def _rounded_down(thresholds: Floats) -> Singles:
    """Return the largest float32 that is not above each: a float32 exceeds the one if and only if the other."""
    with np.errstate(over="ignore"):
        single = thresholds.astype(np.float32)
    above = single > thresholds
    single[above] = np.nextafter(single[above], np.float32(-np.inf))
    return single


@compiled
def _score(
    table: npt.NDArray[np.float32], forest: Forest, left: Words, figures: Singles, bounds: Singles, scores: Floats
) -> None:
    """Add the trees up for each row, in their order; ``left``, ``figures`` and ``bounds`` hold anything."""
    lowest, highest, block, kinds = bounds[0], bounds[1], figures.shape[1], forest.columns.size
    values, common = forest.values, np.empty(left.shape[0], np.uint64)
    for begin in range(0, table.shape[0], block):
        rows = min(block, table.shape[0] - begin)
        _read(table[begin : begin + rows], forest, figures, lowest, highest)
        for first in range(0, values.shape[0], left.shape[0]):
            at, trees = first // left.shape[0] * kinds, min(left.shape[0], values.shape[0] - first)
            _strike_for_all(forest, at, lowest, common)
            for tree in range(trees):
                left[tree] = common[tree]
            for kind in range(kinds):
                _strike(forest, at + kind, figures[kind], lowest[kind], highest[kind], left)
            for row in range(rows):
                total = scores[begin + row]
                for tree in range(trees):
                    total += values[first + tree, trailing_zeros(left[tree, row])]
                scores[begin + row] = total


@inlined
def _read(table: npt.NDArray[np.float32], forest: Forest, figures: Singles, lowest: Singles, highest: Singles) -> None:
    """Write down the figures of each kind, and the least and most of them; the last row's fill the block up.

    A missing figure that goes right exceeds every threshold.
    """
    for kind in range(figures.shape[0]):
        column, missing = forest.columns[kind], forest.missing[kind]
        low, high = np.float32(np.inf), np.float32(-np.inf)
        for row in range(figures.shape[1]):
            figure = table[min(row, table.shape[0] - 1), column]
            figure = missing if np.isnan(figure) else figure
            figures[kind, row] = figure
            reach = np.float32(np.inf) if np.isnan(figure) else figure
            low, high = min(low, reach), max(high, reach)
        lowest[kind], highest[kind] = low, high


@inlined
def _strike_for_all(forest: Forest, at: int, lowest: Singles, common: Words) -> None:
    """Ask a group the questions that every row exceeds; ``common`` is what is left of each tree for all of them."""
    common[:] = _ALL
    for kind in range(lowest.size):
        for node in range(forest.begins[at + kind], forest.begins[at + kind + 1]):
            if forest.thresholds[node] >= lowest[kind]:
                break
            common[forest.trees[node]] &= forest.stays[node]


@inlined
def _strike(forest: Forest, at: int, figures: Singles, lowest: np.float32, highest: np.float32, left: Words) -> None:
    """Ask a block of rows a group's further questions of one kind, up to the first that nobody exceeds."""
    for node in range(forest.begins[at], forest.begins[at + 1]):
        threshold = forest.thresholds[node]
        if threshold < lowest:
            continue
        if threshold >= highest and highest < np.inf:
            break
        tree, kept = forest.trees[node], forest.stays[node]
        for row in range(left.shape[1]):
            left[tree, row] &= _ALL if figures[row] <= threshold else kept
