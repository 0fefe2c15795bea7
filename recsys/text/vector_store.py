"""Vectors of texts on disk, found by what was read and by what read it, so that no text is ever encoded twice."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.database import open_database, pragma, transaction
from recsys.errors import StorageError
from recsys.text.vectors import Vectors

_MAX_BYTES = 2 << 30
_CREATE = """
    CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL, used_us INTEGER NOT NULL);
    CREATE INDEX by_use ON vectors (used_us);
"""
_WRITE = "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)"
_ADD = "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)"


def encoder_scope(*parts: bytes) -> bytes:
    """Name what reads a text, of all that its vector depends on: weights, tokenizer, settings, precision, device."""
    return _digest(b"", parts)


def text_key(scope: bytes, fields: Sequence[str]) -> bytes:
    """Name a text as it is read in some scope."""
    return _digest(scope, [field.encode() for field in fields])


def _digest(start: bytes, parts: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256(start)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)  # or "a", "bc" would be "ab", "c"
    return digest.digest()


class VectorStore:
    """A file of vectors by ``text_key``, for several threads and processes; what was not used for longest goes first.

    It is a cache: everything in it can be computed again. A crash may lose what was stored last.
    """

    def __init__(self, path: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        """Open the file, or make it.

        Raises:
            StorageError: the file is something else, damaged, or cannot be written.
        """
        self.path = path
        self._max_bytes = max_bytes
        self._using = threading.Lock()
        with self._explained():
            self._base = open_database(path, mark=b"RCV1", create=_CREATE, durable=False)

    def __len__(self) -> int:
        """Count the vectors."""
        with self._using, self._explained():
            return int(self._base.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def get(self, keys: Sequence[bytes]) -> tuple[list[int], Vectors]:
        """Return the places [n] of the keys that are here, and their vectors.

        Raises:
            StorageError: the file cannot be read.
        """
        places, found = [], []
        with self._using, self._explained():
            for place, key in enumerate(keys):
                row = self._base.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
                numbers = None if row is None else _unpacked(row[0])
                if numbers is not None:
                    places.append(place)
                    found.append(numbers)
            self._touch([keys[place] for place in places])
        table = np.stack(found) if found else np.empty((0, 1), np.float32)
        return places, Vectors(vectors=table[:, :-1], item_logits=table[:, -1])

    def put(self, keys: Sequence[bytes], vectors: Vectors, *, again: bool = True) -> None:
        """Keep vectors; what is here already is written again, or left as it is.

        Raises:
            StorageError: the file cannot be written; whether all of them were kept is left open.
        """
        now = time.time_ns() // 1_000
        table = np.column_stack([vectors.vectors, vectors.item_logits]).astype(np.float32, copy=False)
        rows = [(key, _packed(numbers), now) for key, numbers in zip(keys, table, strict=True)]
        with self._using, self._explained(), transaction(self._base):
            self._base.executemany(_WRITE if again else _ADD, rows)
            self._evict()

    def close(self) -> None:
        """Close the file."""
        with self._using:
            self._base.close()

    def _touch(self, keys: Sequence[bytes]) -> None:
        if not keys:
            return
        try:
            with transaction(self._base):
                now = time.time_ns() // 1_000
                self._base.executemany("UPDATE vectors SET used_us = ? WHERE key = ?", [(now, key) for key in keys])
        except sqlite3.OperationalError:
            pass  # another process writes; when a vector was used last is only a hint

    def _evict(self) -> None:
        pages, free, size = (pragma(self._base, name) for name in ("page_count", "freelist_count", "page_size"))
        used = (pages - free) * size
        if used <= self._max_bytes:
            return
        count = self._base.execute("SELECT count(*) FROM vectors").fetchone()[0]
        spare = max(1, int(count * (1 - 0.9 * self._max_bytes / used)))
        self._base.execute(
            "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY used_us LIMIT ?)", (spare,)
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"the vector store {self.path} cannot be used ({error}); correct what is named, or stop the servers "
                "that use it and delete the file: it is only a cache"
            ) from error


def _packed(numbers: npt.NDArray[np.float32]) -> bytes:
    data = numbers.astype("<f4").tobytes()
    return zlib.crc32(data).to_bytes(4, "little") + data


def _unpacked(data: bytes) -> npt.NDArray[np.float32] | None:
    """Return a vector and, last, its logit; None where a byte is not as it was written."""
    if len(data) < 8 or len(data) % 4 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        return None
    return np.frombuffer(data, "<f4", offset=4)
