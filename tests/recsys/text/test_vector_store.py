"""Vectors are found again by text and encoder, in a file that stays small and that several processes may use."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StorageError
from recsys.text.vector_store import VectorStore, encoder_scope, text_key
from recsys.text.vectors import Vectors

SCOPE = encoder_scope(b"weights", b"settings")
WRITER = """
import sys
from pathlib import Path
import numpy as np
from recsys.text.vectors import Vectors
from recsys.text.vector_store import VectorStore, text_key
store = VectorStore(Path(sys.argv[1]))
for n in range(200):
    value = np.float32(n)
    store.put([text_key(b"", [sys.argv[2], str(n)])], Vectors(vectors=np.full((1, 8), value), item_logits=value[None]))
    store.get([text_key(b"", [sys.argv[2], "0"])])
store.close()
"""


def key(word: str) -> bytes:
    return text_key(SCOPE, [word, "", ""])


def vectors(*values: float, width: int = 4) -> Vectors:
    numbers = np.array(values, np.float32)
    return Vectors(vectors=np.repeat(numbers[:, None], width, axis=1), item_logits=-numbers)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    store = VectorStore(tmp_path / "vectors.sqlite")
    yield store
    store.close()


def test_vectors_come_back_bit_by_bit_also_from_another_opening(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = Vectors(vectors=rng.normal(size=(3, 256)).astype(np.float32), item_logits=rng.random(3, np.float32))
    first = VectorStore(tmp_path / "vectors.sqlite")
    first.put([key("a"), key("b"), key("c")], written)
    first.close()

    second = VectorStore(tmp_path / "vectors.sqlite")
    places, found = second.get([key("c"), key("-"), key("a")])
    second.close()
    assert places == [0, 2]
    assert found.vectors.tobytes() == written.vectors[[2, 0]].tobytes()
    assert found.item_logits.tobytes() == written.item_logits[[2, 0]].tobytes()


def test_what_is_here_may_be_left_as_it_is(store: VectorStore) -> None:
    one, two = (Vectors(vectors=np.full((1, 4), n, np.float32), item_logits=np.zeros(1, np.float32)) for n in (1, 2))
    store.put([key("a")], one)
    store.put([key("a")], two, again=False)
    store.put([key("b")], two, again=False)

    assert store.get([key("a"), key("b")])[1].vectors[:, 0].tolist() == [1, 2]


def test_nothing_is_found_where_nothing_is(store: VectorStore) -> None:
    assert store.get([key("a")])[0] == []
    assert len(store) == 0


def test_another_encoder_finds_nothing(store: VectorStore) -> None:
    store.put([key("a")], vectors(1))

    assert store.get([text_key(encoder_scope(b"other weights", b"settings"), ["a", "", ""])])[0] == []
    assert store.get([text_key(encoder_scope(b"weights", b"other settings"), ["a", "", ""])])[0] == []
    assert store.get([key("a")])[0] == [0]


@given(one=st.lists(st.text(), max_size=4), two=st.lists(st.text(), max_size=4))
def test_keys_are_equal_only_where_every_field_is(one: list[str], two: list[str]) -> None:
    assert (text_key(SCOPE, one) == text_key(SCOPE, two)) == (one == two)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    limit = 256 * 1024
    store = VectorStore(tmp_path / "vectors.sqlite", max_bytes=limit)
    store.put([key("kept")], vectors(1, width=256))
    for n in range(600):
        store.put([key(str(n))], vectors(n, width=256))
        store.get([key("kept")])
    places, _ = store.get([key("0"), key("kept"), key("599")])
    size = (tmp_path / "vectors.sqlite").stat().st_size
    store.close()

    assert places == [1, 2]
    assert size < 1.2 * limit


def test_without_a_limit_the_first_would_still_be_there(tmp_path: Path) -> None:
    """The control of the test above."""
    store = VectorStore(tmp_path / "vectors.sqlite")
    for n in range(600):
        store.put([key(str(n))], vectors(n, width=256))

    assert store.get([key("0")])[0] == [0]
    store.close()


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    path, content = tmp_path / "vectors.sqlite", b"no database" * 50
    path.write_bytes(content)

    with pytest.raises(StorageError, match=r"vectors\.sqlite cannot be used .* delete the file: it is only a cache"):
        VectorStore(path)
    assert path.read_bytes() == content


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "vectors.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE vectors (theirs TEXT)")
    other.commit()
    other.close()
    content = path.read_bytes()

    with pytest.raises(StorageError, match="it holds something else"):
        VectorStore(path)
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open database file"):
        VectorStore(tmp_path / "missing" / "vectors.sqlite")


def test_a_vector_with_a_damaged_byte_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "vectors.sqlite"
    store = VectorStore(path)
    store.put([key("a"), key("b")], vectors(1, 2))
    base = sqlite3.connect(path)
    data = bytearray(base.execute("SELECT vector FROM vectors WHERE key = ?", (key("a"),)).fetchone()[0])
    data[7] ^= 1
    base.execute("UPDATE vectors SET vector = ? WHERE key = ?", (bytes(data), key("a")))
    base.commit()
    base.close()

    assert store.get([key("a"), key("b")])[0] == [1]
    store.close()


def test_threads_may_share_a_store(store: VectorStore) -> None:
    def use(n: int) -> list[float]:
        store.put([key(str(n))], vectors(n))
        return store.get([key(str(n))])[1].item_logits.tolist()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(200))) == [[-float(n)] for n in range(200)]


def test_processes_may_share_a_store(tmp_path: Path) -> None:
    path = tmp_path / "vectors.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "abc"]

    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    store = VectorStore(path)
    assert len(store) == 600
    places, found = store.get([text_key(b"", ["b", str(n)]) for n in range(200)])
    store.close()
    assert places == list(range(200))
    assert found.item_logits.tolist() == list(range(200))
