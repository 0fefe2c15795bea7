"""Vectors are gathered from the catalog and from what came with the request, and survive a round trip."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.errors import BundleError
from recsys.text.model import Vectors


def numbered(first: int, count: int) -> Vectors:
    values = np.arange(first, first + count, dtype=np.float32)
    return Vectors(vectors=np.stack([values, -values], axis=1), item_logits=values)


def test_rows_past_the_catalog_are_those_of_the_request() -> None:
    vectors, logits = numbered(0, 3).at(np.array([4, 0, 2, 3]), numbered(10, 2))

    assert logits.tolist() == [11.0, 0.0, 2.0, 10.0]
    assert vectors[:, 1].tolist() == [-11.0, -0.0, -2.0, -10.0]


def test_vectors_survive_a_round_trip_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    before = Vectors(vectors=rng.random((5, 4), np.float32), item_logits=rng.random(5, np.float32))

    after = Vectors.from_bytes(before.to_bytes())

    assert after.vectors.tobytes() == before.vectors.tobytes()
    assert after.item_logits.tobytes() == before.item_logits.tobytes()


def test_other_bytes_are_no_vectors() -> None:
    with pytest.raises(BundleError, match=r"vectors\.safetensors cannot be read"):
        Vectors.from_bytes(b"not safetensors")
