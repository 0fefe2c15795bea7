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
from recsys.gentle import rest

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
# What a missing value may count as: zero, the smallest figure, or one beyond the largest.
_COUNTS_AS = (0.0, -np.inf, np.nan)

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
        blocks = model[: model.index("\nend of trees")].split("\nTree=")[1:]
        values = np.zeros((len(blocks), MOST_LEAVES))
        found = [_Nodes.none()]
        for tree, block in enumerate(blocks):
            rest()
            fields = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
            if int(fields["num_leaves"]) > MOST_LEAVES or fields.get("is_linear", "0") != "0":
                raise NotForThis(f"tree {tree} has more than {MOST_LEAVES} leaves, or is linear")
            leaf_values = np.array(fields["leaf_value"].split(), np.float64)
            if len(leaf_values) > 1:
                leaves, nodes = _Nodes.read(fields, tree)
                leaf_values = leaf_values[leaves]
                found.append(nodes)
            values[tree, : len(leaf_values)] = leaf_values
        nodes = _Nodes(*map(np.concatenate, zip(*found, strict=True)))
        kinds, kind = np.unique(nodes.columns * len(_COUNTS_AS) + nodes.missing, return_inverse=True)
        group = nodes.trees // _GROUP * len(kinds) + kind
        order = np.lexsort((nodes.trees, nodes.thresholds, group))
        return cls(
            columns=kinds // len(_COUNTS_AS),
            missing=np.array(_COUNTS_AS, np.float32)[kinds % len(_COUNTS_AS)],
            begins=np.searchsorted(group[order], np.arange(-(-len(blocks) // _GROUP) * len(kinds) + 1)),
            thresholds=_rounded_down(nodes.thresholds[order]),
            trees=(nodes.trees[order] % _GROUP).astype(np.int32),
            stays=nodes.stays[order],
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


class _Nodes(NamedTuple):
    """The inner nodes of trees, and what each asks; ``missing`` are places in ``_COUNTS_AS``."""

    columns: Ints
    missing: Ints
    thresholds: Floats
    trees: Ints
    stays: Words

    @classmethod
    def none(cls) -> Self:
        """Return the nodes of no tree."""
        whole = np.empty(0, np.int64)
        return cls(whole, whole, np.empty(0), whole, np.empty(0, np.uint64))

    @classmethod
    def read(cls, fields: dict[str, str], tree: int) -> tuple[Ints, Self]:
        """Read a tree of several leaves; returns its leaves from left to right, and its nodes."""
        columns, decisions, left, right = (
            np.array(fields[name].split(), np.int64)
            for name in ("split_feature", "decision_type", "left_child", "right_child")
        )
        missing = decisions & _MISSING
        if (decisions & _CATEGORICAL).any() or not ((missing == _MISSING_IS_NONE) | (missing == _MISSING_IS_NAN)).all():
            raise NotForThis("a node asks for categories, or takes zeros for missing")
        counts_as = np.where(missing == _MISSING_IS_NONE, 0, np.where(decisions & _DEFAULT_LEFT, 1, 2))
        leaves, stays = np.empty(len(left) + 1, np.int64), np.empty(len(left), np.uint64)
        _left_to_right(left, right, leaves, stays)
        thresholds = np.array(fields["threshold"].split(), np.float64)
        return leaves, cls(columns, counts_as, thresholds, np.full(len(left), tree), stays)


def _rounded_down(thresholds: Floats) -> Singles:
    """Return the largest float32 that is not above each: a float32 exceeds the one if and only if the other."""
    with np.errstate(over="ignore"):
        single = thresholds.astype(np.float32)
    above = single > thresholds
    single[above] = np.nextafter(single[above], np.float32(-np.inf))
    return single


@compiled
def _left_to_right(left: Ints, right: Ints, leaves: Ints, stays: Words) -> None:
    """Put a tree's leaves in order, and tell which stay when a row goes right at a node.

    A child below zero is leaf ``~child``; other children come after their parents.
    """
    below, begins = np.empty(left.size, np.int64), np.zeros(left.size, np.int64)
    for node in range(left.size - 1, -1, -1):
        below[node] = (below[left[node]] if left[node] >= 0 else 1) + (below[right[node]] if right[node] >= 0 else 1)
    for node in range(left.size):
        begin = begins[node]
        middle = begin + (below[left[node]] if left[node] >= 0 else 1)
        for child, first in ((left[node], begin), (right[node], middle)):
            if child < 0:
                leaves[first] = ~child
            else:
                begins[child] = first
        stays[node] = ~(((np.uint64(1) << np.uint64(middle - begin)) - np.uint64(1)) << np.uint64(begin))


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
