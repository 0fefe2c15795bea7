"""Reads the texts of a catalog that changes: each once, in the background, newest first."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import structlog

from recsys.catalog import Catalog
from recsys.errors import StorageError
from recsys.schema import ItemText
from recsys.text.live_vectors import LiveVectors
from recsys.text.model import TextModel
from recsys.text.vector_store import VectorStore, text_key
from recsys.text.vectors import Vectors

# Rows that the thread takes at a time; newer ones wait no longer than these take.
_TAKEN = 32
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 60.0

Rows = npt.NDArray[np.int32]
_log = structlog.get_logger()


class Known(NamedTuple):
    """The keys of texts [n], the places [m] among them of those whose vectors are known, and these."""

    keys: list[bytes]
    places: list[int]
    vectors: Vectors


class TextReader:
    """Gives the rows of a catalog their vectors, and texts that come with a request theirs.

    A text is encoded only where neither the newest row that said it nor the store has its vector, apart from all
    others, so that its vector does not depend on its neighbours. ``encoded`` counts those, for each of which the
    encoder ran once, and ``found`` the others.

    The thread lives while something is pending. What it cannot read it logs, and tries again, later and later.
    """

    def __init__(self, text: TextModel, catalog: Catalog, vectors: LiveVectors, scope: bytes) -> None:
        self.encoded = self.found = 0
        self._text, self._catalog, self._vectors = text, catalog, vectors
        self._scope = scope
        self._store: VectorStore | None = None
        self._row_of_text: dict[bytes, int] = {}
        self._counting = threading.Lock()
        self._finding = threading.Lock()
        self._changing = threading.Lock()
        self._waiting: list[int] = []
        self._at_work: list[int] = []
        self._thread: threading.Thread | None = None
        self._news = threading.Event()
        self._stopping = False

    @property
    def pending(self) -> int:
        """How many rows wait to be read."""
        with self._changing:
            return len(self._waiting) + len(self._at_work)

    def lookups(self) -> tuple[int, int]:
        """Return how many texts had their vector already when it was looked up, and how many had to be encoded."""
        return self.found, self.encoded

    def keep(self, path: Path) -> None:
        """Look in a file of vectors first from now on, and keep there what had to be encoded.

        Raises:
            StorageError: the file is something else, or cannot be used.
        """
        self._store = VectorStore(path)

    def encode(self, texts: Sequence[ItemText]) -> Vectors:
        """Return the vectors of texts [n] that came with a request."""
        keys = self._keys(texts)
        places, found = self._stored(keys)
        self._count(found=len(places))
        if len(places) == len(texts):
            return found
        missing = np.setdiff1d(np.arange(len(texts)), places)
        fresh = self._encode([texts[place] for place in missing])
        self._keep([keys[place] for place in missing], fresh)
        vectors, logits = np.empty((len(texts), fresh.vectors.shape[1]), np.float32), np.empty(len(texts), np.float32)
        for where, part in ((places, found), (missing, fresh)):
            if len(part):
                vectors[where], logits[where] = part.vectors, part.item_logits
        return Vectors(vectors=vectors, item_logits=logits)

    def remember(self, rows: Rows) -> None:
        """Note what some rows [n] say, before their items change: an item may say it again."""
        rows = rows[self._vectors.has_read(rows)]
        for key, row in zip(self._keys(self._catalog.texts(rows.tolist())), rows.tolist(), strict=True):
            other = self._row_of_text.setdefault(key, row)
            if not self._vectors.has_read(np.array([other]))[0]:
                self._row_of_text[key] = row

    def forget(self, rows: Rows) -> None:
        """Forget what some rows [n] say that nobody looks up, before they say something else; the store keeps it."""
        if not rows.size:
            return
        keys = self._keys(self._catalog.texts(rows.tolist()))
        with self._finding:
            # Of the others another row says the same, or the text was never read.
            lost = {key: row for key, row in zip(keys, rows.tolist(), strict=True) if self._row_of_text.get(key) == row}
            for key in lost:
                del self._row_of_text[key]
            lost = {key: row for key, row in lost.items() if self._vectors.has_read(np.array([row]))[0]}
            vectors, logits = self._vectors.now.at(np.array(list(lost.values()), np.int32))
            self._vectors.forget(rows)
        self._keep(list(lost), Vectors(vectors=vectors, item_logits=logits), again=False)

    def drop(self, rows: Rows) -> None:
        """Read no more what some rows [n] say that no id leads to now; what is being read is finished."""
        unread = set(rows[~self._vectors.has_read(rows)].tolist())
        if unread:
            with self._changing:
                self._waiting = [row for row in self._waiting if row not in unread]

    def unread(self) -> set[int]:
        """Return the rows that wait to be read, or are being read."""
        with self._changing:
            return {*self._waiting, *self._at_work}

    def known(self, texts: Sequence[ItemText]) -> Known:
        """Return the vectors of those texts [n] that are known already, for ``place``."""
        keys = self._keys(texts)
        places, found = self._known(keys)
        self._count(found=len(places))
        return Known(keys, places, found)

    def place(self, rows: Rows, known: Known) -> Rows:
        """Give rows [n] the vectors of what they say now, as far as known; returns the rows of the others."""
        self._vectors.put(rows[known.places], known.vectors)
        for place in known.places:
            self._row_of_text[known.keys[place]] = int(rows[place])
        waiting = np.setdiff1d(np.arange(len(rows)), known.places)
        for place in waiting:
            self._row_of_text.setdefault(known.keys[place], int(rows[place]))
        return rows[waiting]

    def read(self, rows: Rows) -> None:
        """Read the texts of some rows [n] in the background; ids must lead to them already."""
        with self._changing:
            self._waiting.extend(rows.tolist())
            self._news.set()
            if self._waiting and self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="read texts", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop after the text that is being read; the rest stays pending."""
        with self._changing:
            self._stopping = True
            self._news.set()
            thread = self._thread
        if thread is not None:
            thread.join()
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _run(self) -> None:
        delay = _FIRST_RETRY_S
        while rows := self._take():
            late = self._read_each(rows)
            with self._changing:
                self._waiting[:0] = late  # behind all others
                self._at_work = []
                nothing_else = len(late) == len(self._waiting)
            if late and nothing_else:
                self._news.wait(delay)
                delay = min(2 * delay, _LAST_RETRY_S)
            if not late:
                delay = _FIRST_RETRY_S

    def _take(self) -> list[int]:
        """Take the newest rows; none where the thread is to end."""
        with self._changing:
            self._news.clear()
            if self._stopping or not self._waiting:
                self._thread = None
                return []
            self._at_work = self._waiting[: -_TAKEN - 1 : -1]
            del self._waiting[-_TAKEN:]
            return self._at_work

    def _read_each(self, taken: list[int]) -> list[int]:
        """Read rows one by one; returns those that could not be read."""
        candidates = np.array(taken, np.int32)
        # An item that has changed again, or is gone, needs its old text no more.
        rows = candidates[self._catalog.current(candidates) == candidates]
        late: list[int] = []
        fresh: list[tuple[bytes, Vectors]] = []
        for row in rows.tolist():
            if self._stopping:
                late.append(row)
                continue
            try:
                fresh += self._read_row(row)
            except Exception as error:  # noqa: BLE001 - whatever it is, the row is tried again
                _log.error(
                    "text not read", error=type(error).__name__, pending=self.pending
                )  # its message may quote it
                late.append(row)
        if fresh:
            keys, parts = zip(*fresh, strict=True)
            self._keep(keys, Vectors(
                vectors=np.concatenate([part.vectors for part in parts]),
                item_logits=np.concatenate([part.item_logits for part in parts]),
            ))  # fmt: skip
        return late

    def _read_row(self, row: int) -> list[tuple[bytes, Vectors]]:
        """Read one row; returns what is to be stored."""
        texts = self._catalog.texts([row])
        keys = self._keys(texts)
        places, found = self._known(keys)
        self._count(found=len(places))
        if not places:
            found = self._encode(texts)
        self._vectors.put(np.array([row]), found)
        with self._finding:
            self._row_of_text[keys[0]] = row
        return [] if places else [(keys[0], found)]

    def _encode(self, texts: Sequence[ItemText]) -> Vectors:
        vectors = self._text.encode(texts)
        self._count(encoded=len(texts))
        return vectors

    def _count(self, *, found: int = 0, encoded: int = 0) -> None:
        with self._counting:
            self.found += found
            self.encoded += encoded

    def _keys(self, texts: Sequence[ItemText]) -> list[bytes]:
        return [text_key(self._scope, self._text.tokenizer.fields(text)) for text in texts]

    def _known(self, keys: Sequence[bytes]) -> tuple[list[int], Vectors]:
        """Find texts among the rows, then in the store: the places [n] of those found, and their vectors."""
        with self._finding:  # so that no row is forgotten between its text and its vector
            now = self._vectors.now
            same = np.array([self._row_of_text.get(key, -1) for key in keys], np.int32)
            rows = now.with_text(np.where(same < len(now), same, np.int32(-1)))
            here, elsewhere = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
            vectors, logits = now.at(rows[here])
        places, found = self._stored([keys[place] for place in elsewhere.tolist()])
        if places:
            vectors = np.concatenate([vectors, found.vectors])
            logits = np.concatenate([logits, found.item_logits])
        return [*here.tolist(), *elsewhere[places].tolist()], Vectors(vectors=vectors, item_logits=logits)

    def _stored(self, keys: Sequence[bytes]) -> tuple[list[int], Vectors]:
        store = self._store
        if store is not None and len(keys):
            try:
                return store.get(keys)
            except StorageError as error:  # texts are encoded as if they were new
                _log.error("vectors not found", error=str(error))
        return [], Vectors(vectors=np.empty((0, 0), np.float32), item_logits=np.empty(0, np.float32))

    def _keep(self, keys: Sequence[bytes], vectors: Vectors, *, again: bool = True) -> None:
        store = self._store
        if store is not None and len(keys):
            try:
                store.put(keys, vectors, again=again)
            except StorageError as error:  # they serve all the same
                _log.error("vectors not stored", error=str(error))
