"""The ranker: LightGBM trees over text outputs and behavioural features, read from text behind a structural guard."""

from __future__ import annotations

import re
from functools import lru_cache, partial
from itertools import pairwise
from typing import Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from recsys.crew import Crew
from recsys.errors import BundleError
from recsys.forest import Forest, NotForThis
from recsys.gentle import rest

# Scores are cut to this grid, far below any difference that means something and far above the noise of float sums.
GRID = 1e-9

# Rows that a thread scores at a time where several share the work.
_SHARED = 128

# Arrays of one entry per leaf or per inner node; LightGBM's parser believes their lengths.
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_PER_NODE = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
# Of categories or not, missing to the left or not, and three kinds of what is missing.
_DECISIONS = 16
_NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf|nan)", re.ASCII)


class Ranker:
    """Scores rows of a feature table; higher is better, within one list only."""

    def __init__(self, booster: lgb.Booster, forest: Forest | None = None) -> None:
        self._booster = booster
        self._forest = forest
        self.names: tuple[str, ...] = tuple(booster.feature_name())

    @classmethod
    def from_text(cls, model: bytes) -> Self:
        """Read a LightGBM model, after looking at its structure.

        Raises:
            BundleError: it is damaged; LightGBM itself is not asked, since its parser can kill the process.
        """
        check_model_text(model)
        try:
            booster = lgb.Booster(model_str=model.decode())
        except lgb.basic.LightGBMError as error:
            raise BundleError("LightGBM refuses the ranker's model; train and publish the bundle again") from error
        try:
            return cls(booster, Forest.from_text(model.decode()))
        except NotForThis:
            return cls(booster)

    @property
    def strongest(self) -> tuple[str, ...]:
        """The columns by how much their splits gained in training, most first; equal ones as they stand."""
        gains = self._booster.feature_importance("gain")
        return tuple(self.names[column] for column in np.argsort(-gains, kind="stable"))

    def predict(
        self, table: npt.NDArray[np.float32], crew: Crew | None = None, *, threads: int = 1
    ) -> npt.NDArray[np.float64]:
        """Return the score of each row [R] of a table [R, C] whose columns are ``names``; NaN stands for missing.

        Args:
            table: the figures.
            crew: shares the work of many rows.
            threads: more than one pays on a whole log only; scores do not depend on it.

        Raises:
            BundleError: a score is not finite, so the model is not what training wrote.
        """
        self._check(table)
        if not len(table):
            return np.empty(0)
        if self._forest is not None and threads == 1:
            scores = self._forest.score(table) if crew is None else self._shared(self._forest, table, crew)
        else:
            scores = np.asarray(self._booster.predict(table, raw_score=True, num_threads=threads), np.float64)
        if not np.isfinite(scores).all():
            raise BundleError("the ranker gives scores that are not finite; roll back, then train again")
        return np.round(scores / GRID) * GRID

    def _shared(self, forest: Forest, table: npt.NDArray[np.float32], crew: Crew) -> npt.NDArray[np.float64]:
        scores = np.empty(len(table))

        def score(begin: int) -> None:
            scores[begin : begin + _SHARED] = forest.score(table[begin : begin + _SHARED])

        crew.share([partial(score, begin) for begin in range(0, len(table), _SHARED)])
        return scores

    def contributions(self, table: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return how far each column moved each row's score, and the expected score last (TreeSHAP); [R, C + 1]."""
        self._check(table)
        if not len(table):
            return np.empty((0, len(self.names) + 1))
        return np.asarray(self._booster.predict(table, pred_contrib=True, num_threads=1), np.float64)

    def _check(self, table: npt.NDArray[np.float32]) -> None:
        if table.ndim != 2 or table.shape[1] != len(self.names):
            raise ValueError(f"the ranker knows {len(self.names)} columns, the table has shape {table.shape}")


# Remembered, because a bundle's are looked at when its files are read, and again before they are parsed.
@lru_cache(maxsize=2)
def check_model_text(model: bytes) -> None:
    """Walk through a LightGBM text model, tree by tree, and refuse whatever is not in its place.

    Raises:
        BundleError: what is wrong with it.
    """
    try:
        text = model.decode("ascii")
    except UnicodeDecodeError as error:
        raise _damaged("it is not ASCII") from error
    header, found, _ = text.partition("\nTree=0\n")
    if not found or not header.startswith("tree\n"):
        raise _damaged("it does not begin with a header and a first tree")
    fields = _fields(header)
    features = len(fields.get("feature_names", "").split())
    if int(fields.get("max_feature_idx", "-1")) + 1 != features or features == 0:
        raise _damaged("its header names other features than it counts")
    sizes = fields.get("tree_sizes", "").split()
    if not sizes or not all(size.isdecimal() for size in sizes):
        raise _damaged("its header has no sizes of trees")
    start = len(header) + 1
    edges = np.cumsum([start, *map(int, sizes)]).tolist()
    for number, (begin, end) in enumerate(pairwise(edges)):
        _check_tree(text[begin:end], number, features)
        rest()
    if not text[edges[-1] :].startswith("end of trees\n"):
        raise _damaged("it does not end after its last tree")


def _check_tree(block: str, number: int, features: int) -> None:
    if not block.startswith(f"Tree={number}\n"):
        raise _damaged(f"tree {number} does not begin where it should")
    fields = _fields(block)
    leaves = fields.get("num_leaves", "")
    if not leaves.isdecimal() or not 1 <= int(leaves) <= 1 << 20 or fields.get("num_cat", "") != "0":
        raise _damaged(f"tree {number} has no sound number of leaves")
    nodes = int(leaves) - 1
    for names, length in ((_PER_LEAF, nodes + 1), (_PER_NODE, nodes)):
        for name in names:
            values = fields.get(name, "").split()
            # A tree of one leaf leaves out what it does not need.
            if (len(values) != length and (values or nodes)) or not all(map(_NUMBER.fullmatch, values)):
                raise _damaged(f"{name} of tree {number} is not what its leaves ask for")
    if nodes:
        _check_nodes(fields, number, nodes, features)


def _check_nodes(fields: dict[str, str], number: int, nodes: int, features: int) -> None:
    """Each child must be a later inner node or a leaf, each exactly once, and each split on a feature that exists."""
    try:
        children = [int(child) for side in ("left_child", "right_child") for child in fields[side].split()]
        splits = [int(feature) for feature in fields["split_feature"].split()]
        decisions = [int(decision) for decision in fields["decision_type"].split()]
    except ValueError as error:
        raise _damaged(f"tree {number} has a child, a feature or a decision that is no whole number") from error
    if sorted(children) != [*range(-nodes - 1, 0), *range(1, nodes)]:
        raise _damaged(f"the nodes of tree {number} do not form a tree")
    parents = [place % nodes for place in range(2 * nodes)]
    if any(0 < child <= parent for child, parent in zip(children, parents, strict=True)):
        raise _damaged(f"the nodes of tree {number} form a circle")
    if not all(0 <= feature < features for feature in splits):
        raise _damaged(f"tree {number} splits on a feature that does not exist")
    if not all(0 <= decision < _DECISIONS for decision in decisions):
        raise _damaged(f"tree {number} decides in a way that does not exist")


def _fields(block: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in block.split("\n")]
    names = [name for name, equals, _ in pairs if equals]
    if len(set(names)) != len(names):
        raise _damaged("it says something twice")
    return {name: value for name, equals, value in pairs if equals}


def _damaged(reason: str) -> BundleError:
    return BundleError(f"the ranker's model is damaged: {reason}; restore the bundle or publish it again")
