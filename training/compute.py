"""How much arithmetic a request costs: floating-point operations, a multiplication and an addition counted as two."""

from __future__ import annotations

from typing import Any


def encoder_flops(config: Any, tokens: float) -> float:
    """Count one forward pass of a BERT-like model (its Hugging Face config) over a sequence of so many tokens."""
    width, inner = int(config.hidden_size), int(config.intermediate_size)
    matrices = 8 * width * width + 4 * width * inner  # query, key, value, output; and the two of the feed-forward part
    attention = 4 * tokens * width  # scores and weighted sums, per token
    return float(config.num_hidden_layers * tokens * (matrices + attention))


def click_predictor_flops(*, candidates: int, history: int, dimensions: int = 256, hidden: int = 64) -> float:
    """Count the click head's work for one request; item vectors are there already, encoded once per text.

    Args:
        candidates: items to be scored.
        history: history entries attended to, padding included.
        dimensions: width of the vectors.
        hidden: width of the head's hidden layer and of its learned affinity.
    """
    once = history * (2 * dimensions * hidden + dimensions)  # keys, and action embeddings added
    cosines = 2 * history * dimensions
    affinity = 2 * dimensions * hidden + 2 * history * hidden
    attention = 10 * history  # shift, softmax, attended, maximum and mean cosine
    user = 2 * history * dimensions
    layers = 6 * dimensions * hidden + dimensions + 2 * hidden
    return float(once + candidates * (cosines + affinity + attention + user + layers))
