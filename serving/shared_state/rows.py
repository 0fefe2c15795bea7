"""What is asked of the shared state in one call, and its answer, checked against what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.features.keys import Keys
from recsys.features.learn import PAIRED
from recsys.features.look import TASTED
from recsys.features.rows import Rows, row_type
from recsys.features.tables import DISLIKED, PLACES, empty_tables
from serving.shared_state.link import Link, NoState
from serving.shared_state.scripts import READ

# How long a writer may keep the others waiting before they go ahead; what it writes afterwards is refused.
TURN_MS = 1_000
EVENT_BYTES = 16

_TABLES = empty_tables(values=0)
VALUE_TYPE = np.dtype([("counts", "<i8", (2,))])
ROW_TYPES: dict[str, np.dtype[np.void]] = {
    "users": row_type(_TABLES.users),
    "items": row_type(_TABLES.items),
    "categories": row_type(_TABLES.categories),
    "surfaces": row_type(_TABLES.surfaces),
    "values": VALUE_TYPE,
}
LETTERS = dict(zip(ROW_TYPES, "uicsv", strict=True))
OVERALL_TYPE = row_type(_TABLES.overall)
_USER, _ITEM = ROW_TYPES["users"], ROW_TYPES["items"]
_NO_KEYS: Keys = np.zeros(0, np.int64)


def _begins(kind: np.dtype[np.void], column: str) -> int:
    assert kind.fields is not None  # noqa: S101  # it is a row
    return int(kind.fields[column][1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which items of a user's row are looked up too, and which bytes of their rows are wanted, from 1."""

    liked: int
    disliked: int
    first: int
    last: int

    @property
    def words(self) -> tuple[int, ...]:
        """Return what the script is told."""
        liked, disliked = _begins(_USER, "liked_items"), _begins(_USER, "disliked_items")
        return (liked, self.liked, disliked, self.disliked, self.first, self.last)


_TOTALS = _begins(_ITEM, "counts.totals")
# A ranking asks how successful the user's choices were; learning needs whole rows of what the user liked last.
CHOICES = Cut(liked=TASTED, disliked=DISLIKED, first=_TOTALS + 1, last=_TOTALS + 16)
PARTNERS = Cut(liked=PAIRED, disliked=0, first=1, last=_ITEM.itemsize)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Keys by table, each once, and none of them ``NOBODY``.

    Of ``items_cut``, and of the items that the rows of the users in ``recall`` name, only ``cut`` is wanted.
    """

    users: Keys = field(default_factory=_NO_KEYS.copy)
    recall: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    items: Keys = field(default_factory=_NO_KEYS.copy)
    categories: Keys = field(default_factory=_NO_KEYS.copy)
    surfaces: Keys = field(default_factory=_NO_KEYS.copy)
    values: Keys = field(default_factory=_NO_KEYS.copy)
    items_cut: Keys = field(default_factory=_NO_KEYS.copy)
    cut: Cut = CHOICES
    events: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Rows of one table: ``there`` says of each key asked for whether it has a row; ``rows`` holds those that have."""

    there: npt.NDArray[np.bool_]
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer; ``cut_keys`` are the keys asked for by ``items_cut`` and then those that the users' rows named."""

    revision: bytes
    heard: Mapping[str, int]
    overall: Rows
    places: npt.NDArray[np.int64]
    tables: Mapping[str, Fetched]
    cut_keys: Keys
    cut: Fetched
    events: npt.NDArray[np.bool_]


def read(link: Link, base: bytes, wanted: Wanted, *, deadline: float, turn: bytes = b"") -> Found | None:
    """Ask for rows, and with ``turn`` (a token) for the turn to write; None while another one has it.

    Raises:
        NoState: no answer, none in time, one that does not fit the question, or there is no such generation.
    """
    nonce = token_bytes(16)
    keys = [getattr(wanted, name).tobytes() for name in ROW_TYPES]
    events = b"".join(wanted.events)
    words = (
        nonce,
        base,
        turn,
        TURN_MS,
        *keys,
        wanted.items_cut.tobytes(),
        events,
        *wanted.cut.words,
        as_bits(wanted.recall),
    )
    reply = link.run(READ, *words, deadline=deadline)
    status = check_status(reply, nonce)
    if status == b"absent":
        raise NoState("absent", "it holds nothing of this bundle")
    if status == b"busy":
        return None
    try:
        return _found(reply, wanted)
    except (ValueError, TypeError, IndexError, UnicodeDecodeError) as error:
        raise NoState("reply", f"it answered something else: {error}") from error


def check_status(reply: Any, nonce: bytes) -> bytes:
    """Return what a script says happened, once it is certain that it answers this call and no other.

    Raises:
        NoState: it does not.
    """
    if not isinstance(reply, list) or len(reply) < 2 or reply[0] != nonce or not isinstance(reply[1], bytes):
        raise NoState("reply", "it answered another question")
    return reply[1]


def _found(reply: list[Any], wanted: Wanted) -> Found:
    if len(reply) != 20 or reply[1] != b"ok":
        raise ValueError(f"{len(reply)} parts")
    revision, heard, overall, places = reply[2:6]
    tables = {
        name: _fetched(name, getattr(wanted, name), kind, reply[6 + 2 * place], reply[7 + 2 * place])
        for place, (name, kind) in enumerate(ROW_TYPES.items())
    }
    cut_keys = np.frombuffer(reply[16], "<i8")
    if not np.array_equal(cut_keys[: wanted.items_cut.size], wanted.items_cut):
        raise ValueError("rows of other items")
    whole = wanted.cut.last - wanted.cut.first + 1
    kind = _ITEM if whole == _ITEM.itemsize else VALUE_TYPE
    events = _bits(reply[19])
    if events.size != len(wanted.events):
        raise ValueError(f"{events.size} events")
    return Found(
        revision=bytes(revision),
        heard={name.decode(): int(number) for name, number in zip(heard[::2], heard[1::2], strict=True)},
        overall=_exactly(np.frombuffer(overall, OVERALL_TYPE), 1),
        places=_exactly(np.frombuffer(places, "<i8"), 2 * PLACES).reshape(PLACES, 2),
        tables=tables,
        cut_keys=cut_keys,
        cut=_fetched("items cut", cut_keys, kind, reply[17], reply[18]),
        events=events,
    )


def _fetched(name: str, keys: Keys, kind: np.dtype[np.void], there: bytes, data: bytes) -> Fetched:
    present = _bits(there)
    rows = np.frombuffer(data, kind)
    if present.size != keys.size or rows.size != np.count_nonzero(present):
        raise ValueError(f"{name}: {rows.size} rows of {present.size} keys, asked were {keys.size}")
    if "keys" in (kind.names or ()) and not np.array_equal(rows["keys"], keys[present]):
        raise ValueError(f"{name}: rows of other keys")
    return Fetched(there=present, rows=rows)


def as_bits(flags: npt.NDArray[np.bool_]) -> bytes:
    """Write flags as the scripts read them: a 1 or 0 each."""
    return (flags + np.uint8(ord("0"))).astype(np.uint8).tobytes()


def _bits(there: bytes) -> npt.NDArray[np.bool_]:
    bits: npt.NDArray[np.bool_] = np.frombuffer(there, np.uint8) == ord("1")
    return bits


def _exactly(rows: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if rows.size != size:
        raise ValueError(f"{rows.size} rows, not {size}")
    return rows
