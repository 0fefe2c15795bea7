"""A small click head, texts and lists that are drawn, for tests of how lists are scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recsys.text.resident_head import ListRows
from recsys.text.vectors import Vectors
from training.click_model import ClickHead, ClickModelConfig
from training.export import export_head

CONFIG = ClickModelConfig(dimensions=32, history_length=16, hidden=16)


def head_graph() -> bytes:
    """Export a head none of whose weights is at its start."""
    torch.manual_seed(0)
    head = ClickHead(CONFIG)
    with torch.no_grad():
        for part in head.parameters():
            part.add_(torch.randn(part.shape) * 0.2)
    return export_head(head, CONFIG)


def texts(count: int, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, CONFIG.dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Vectors(vectors=vectors, item_logits=rng.standard_normal(count).astype(np.float32))


def lists(rows: int, lists: int, each: int, seed: int = 0) -> ListRows:
    """Draw lists over so many texts; some entries of the histories are padding, and so are their rows."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 8, (lists, CONFIG.history_length)).astype(np.int8)
    history = np.where(actions > 0, rng.integers(0, rows, actions.shape), -1)
    ages = rng.uniform(-1, 500, actions.shape).astype(np.float32)
    return ListRows(candidates=rng.integers(0, rows, (lists, each)), history=history, actions=actions, ages=ages)


def never() -> Any:
    raise AssertionError("the CPU was asked")
