"""Put the trees of several LightGBM models into one, so that one file, and one call, is their weighted sum."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What a tree predicts, as LightGBM writes it; everything else in a tree stays as it is.
_PREDICTED = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)
_NUMBER = re.compile(r"^Tree=\d+$", re.MULTILINE)


def blend_trees(models: Sequence[tuple[str, float]]) -> str:
    """Join models (LightGBM text, weight), all grown on the same columns.

    Header, objective and parameters are the first model's, so the sum is read as a raw score if its scores are.
    """
    blocks = [_scaled(block, weight) for text, weight in models for block in _trees(text)]
    blocks = [_NUMBER.sub(f"Tree={place}", block, count=1) for place, block in enumerate(blocks)]
    header, tail = _frame(models[0][0])
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    return "".join([re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", header, flags=re.MULTILINE), *blocks, tail])


def _trees(text: str) -> list[str]:
    start, end = text.index("Tree=0\n"), text.index("end of trees\n")
    return [f"Tree={part}" for part in text[start:end].split("Tree=")[1:]]


def _frame(text: str) -> tuple[str, str]:
    """Return what stands before the trees, and after them without the first model's feature importances."""
    parameters = text[text.index("\nparameters:\n") :]
    return text[: text.index("Tree=0\n")], f"end of trees\n{parameters}"


def _scaled(block: str, weight: float) -> str:
    def scale(line: re.Match[str]) -> str:
        values = " ".join(f"{float(value) * weight:.17g}" for value in line[2].split())
        return f"{line[1]}={values}"

    return _PREDICTED.sub(scale, block)
