"""Vectors are gathered from catalog and request alike, and survive a round trip if an encoder made them."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.errors import BundleError
from recsys.text.vectors import Vectors


def numbered(first: int, count: int) -> Vectors:
    values = np.arange(first, first + count, dtype=np.float32)
    return Vectors(vectors=np.stack([values, -values], axis=1), item_logits=values)


def made(count: int) -> Vectors:
    rng = np.random.default_rng(0)
    vectors = rng.random((count, 4), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Vectors(vectors=vectors, item_logits=rng.random(count, np.float32))


def test_rows_past_the_catalog_are_those_of_the_request() -> None:
    vectors, logits = numbered(0, 3).at(np.array([4, 0, 2, 3]), numbered(10, 2))

    assert logits.tolist() == [11.0, 0.0, 2.0, 10.0]
    assert vectors[:, 1].tolist() == [-11.0, -0.0, -2.0, -10.0]


def test_vectors_survive_a_round_trip_bit_by_bit() -> None:
    before = made(5)

    after = Vectors.from_bytes(before.to_bytes())

    assert after.vectors.tobytes() == before.vectors.tobytes()
    assert after.item_logits.tobytes() == before.item_logits.tobytes()


def test_other_bytes_are_no_vectors() -> None:
    with pytest.raises(BundleError, match=r"vectors\.safetensors cannot be read"):
        Vectors.from_bytes(b"not safetensors")


def test_no_texts_have_no_vectors() -> None:
    assert len(Vectors.from_bytes(made(0).to_bytes())) == 0


@pytest.mark.parametrize("row", [0, 2_999])
@pytest.mark.parametrize("said", [2.0, 0.0, np.nan, np.inf, 1e30])
def test_a_vector_of_another_length_is_of_no_encoder(row: int, said: float) -> None:
    vectors = made(3_000)
    vectors.vectors[row] = said

    with pytest.raises(BundleError, match="holds what no encoder says; train and publish the bundle again"):
        Vectors.from_bytes(vectors.to_bytes())


@pytest.mark.parametrize("said", [np.nan, np.inf, -1e30])
def test_a_logit_beyond_all_bounds_is_of_no_encoder(said: float) -> None:
    vectors = made(3_000)
    vectors.item_logits[2_999] = said

    with pytest.raises(BundleError, match="holds what no encoder says"):
        Vectors.from_bytes(vectors.to_bytes())


def test_as_many_logits_as_vectors_are_needed() -> None:
    one = Vectors(vectors=made(5).vectors, item_logits=made(4).item_logits)

    with pytest.raises(BundleError, match="holds what no encoder says"):
        Vectors.from_bytes(one.to_bytes())
