"""Writes commands and reads answers in the form of RESP 2, which Redis and Valkey speak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_BULK, _LIST, _NUMBER, _WORD, _ERROR = b"$*:+-"


class Refused(Exception):
    """The store answered with an error, alone or among others."""


class Names:
    """The names of rows as words of a command: ``begin``, followed by the eight bytes of each key."""

    def __init__(self, begin: bytes, keys: npt.NDArray[np.int64]) -> None:
        head = b"$%d\r\n%b" % (len(begin) + 8, begin)
        kind = np.dtype([("head", f"V{len(head)}"), ("key", "<i8"), ("end", "V2")])
        words = np.empty(keys.size, kind)
        words["head"], words["key"], words["end"] = np.void(head), keys, np.void(b"\r\n")
        self.size = keys.size
        self.packed = words.tobytes()


def pack(words: Sequence[Any]) -> bytes:
    """Write a command."""
    parts, size = [b""], 0
    for word in words:
        if isinstance(word, Names):
            parts.append(word.packed)
            size += word.size
        else:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts += (b"$%d\r\n" % len(data), data, b"\r\n")
            size += 1
    parts[0] = b"*%d\r\n" % size
    return b"".join(parts)


class Replies:
    """What comes from a store, as bytes, None, integers and lists of these; ``receive`` returns the next bytes."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._held = bytearray()
        self._at = 0

    @property
    def unread(self) -> bool:
        """Whether there is something that nobody asked for."""
        return self._at < len(self._held)

    def read(self) -> Any:
        """Return the next answer.

        Raises:
            Refused: it is an error, or holds one; the rest of it is unread.
            ValueError: this is no RESP.
            OSError: whatever ``receive`` raises.
        """
        if self._at == len(self._held):
            self._held, self._at = bytearray(), 0
        return self._read()

    def _read(self) -> Any:
        end = self._line()
        kind, value = self._held[self._at], bytes(self._held[self._at + 1 : end])
        self._at = end + 2
        if kind == _BULK:
            size = int(value)
            return self._bytes(size) if size >= 0 else None
        if kind == _LIST:
            return self._list(int(value)) if value != b"-1" else None
        if kind == _NUMBER:
            return int(value)
        if kind == _WORD:
            return value
        if kind == _ERROR:
            raise Refused(value.decode(errors="replace"))
        raise ValueError(f"an answer begins with {chr(kind)!r}")

    def _list(self, size: int) -> list[Any]:
        found: list[Any] = []
        for _ in range(size):
            # Nearly all that ever comes are strings that are there already, so these are read in one go.
            held, at = self._held, self._at
            end = held.find(b"\r\n", at)
            if end > at and held[at] == _BULK:
                begin = end + 2
                stop = begin + int(held[at + 1 : end])
                if stop >= begin and held[stop : stop + 2] == b"\r\n":
                    found.append(bytes(held[begin:stop]))
                    self._at = stop + 2
                    continue
            found.append(self._read())
        return found

    def _line(self) -> int:
        """Return where the line ends that begins here."""
        while (end := self._held.find(b"\r\n", self._at)) < 0:
            self._more()
        if end == self._at:
            raise ValueError("an empty line")
        return end

    def _bytes(self, size: int) -> bytes:
        end = self._at + size
        while len(self._held) < end + 2:
            self._more()
        if self._held[end : end + 2] != b"\r\n":
            raise ValueError("an answer is longer than it says")
        with memoryview(self._held) as held:
            found = bytes(held[self._at : end])
        self._at = end + 2
        return found

    def _more(self) -> None:
        came = self._receive()
        if not came:
            raise ConnectionError("the store closed the connection")
        self._held += came
