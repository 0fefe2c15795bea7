"""Vectors that grow while they are read: no row is ever seen half."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from recsys.text.live_vectors import LiveVectors
from recsys.text.vectors import Vectors

WIDTH = 64


def filled(*values: int) -> Vectors:
    numbers = np.array(values, np.float32)
    return Vectors(vectors=np.repeat(numbers[:, None], WIDTH, axis=1), item_logits=numbers)


def test_a_row_has_no_text_until_its_vector_is_there() -> None:
    live = LiveVectors(filled(1, 2))
    live.grow(4)
    live.put(np.array([3]), filled(7))
    now = live.now

    assert len(now) == 4
    assert now.with_text(np.array([0, 2, 3, -1, 1], np.int32)).tolist() == [0, -1, 3, -1, 1]
    assert now.at(np.array([1, 3]))[1].tolist() == [2.0, 7.0]


def test_what_a_reader_has_taken_does_not_grow() -> None:
    live = LiveVectors(filled(1, 2))
    taken = live.now
    live.grow(3)
    live.grow(50)
    live.put(np.array([2]), filled(9))

    vectors, logits = taken.at(np.array([1, 2]), filled(5))  # the request's texts begin where the taken ones end
    assert logits.tolist() == [2.0, 5.0]
    assert vectors[:, 0].tolist() == [2.0, 5.0]


def test_the_first_items_may_come_after_the_bundle() -> None:
    live = LiveVectors(Vectors(vectors=np.empty((0, WIDTH), np.float32), item_logits=np.empty(0, np.float32)))
    assert live.now.with_text(np.array([-1], np.int32)).tolist() == [-1]
    live.grow(1)
    live.put(np.array([0]), filled(3))

    assert live.now.at(np.array([0]))[1].tolist() == [3.0]


def test_vectors_of_the_bundle_may_be_read_only() -> None:
    vectors = filled(1)
    vectors.vectors.flags.writeable = False
    live = LiveVectors(vectors)
    live.grow(2)
    live.put(np.array([1]), filled(4))

    assert live.now.at(np.array([0, 1]))[1].tolist() == [1.0, 4.0]


def test_a_row_that_is_forgotten_has_no_text_until_another_vector_is_there() -> None:
    bundle = filled(1, 2)
    live = LiveVectors(bundle)
    live.forget(np.array([1]))
    forgotten = live.now.with_text(np.array([0, 1], np.int32)).tolist()
    live.put(np.array([1]), filled(8))

    assert forgotten == [0, -1]
    assert live.now.with_text(np.array([0, 1], np.int32)).tolist() == [0, 1]
    assert live.now.at(np.array([0, 1]))[1].tolist() == [1.0, 8.0]
    assert bundle.item_logits.tolist() == [1.0, 2.0]  # which others may read


def test_every_row_that_a_reader_may_use_is_whole() -> None:
    live = LiveVectors(filled(0))
    done = threading.Event()
    torn: list[int] = []

    def look() -> None:
        while not done.is_set():
            now = live.now
            rows = now.with_text(np.arange(len(now), dtype=np.int32))
            vectors, logits = now.at(rows[rows >= 0])
            if (vectors != rows[rows >= 0, None]).any() or (logits != rows[rows >= 0]).any():
                torn.append(len(now))

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for row in range(1, 2_000):
        live.grow(row + 1)
        live.put(np.array([row]), filled(row))
    done.set()
    for reader in readers:
        reader.join(30)

    assert torn == []
    assert live.has_read(np.arange(2_000)).all()


def test_rows_that_were_not_read_would_be_seen_empty() -> None:
    """The control of the test above: what the flag keeps from a reader."""
    live = LiveVectors(filled(0))
    live.grow(2)

    assert live.now.at(np.array([1]))[1].tolist() == [0.0]
    with pytest.raises(AssertionError):
        assert live.has_read(np.array([1])).all()
