"""What is asked of the shared state at one moment, and its answer, checked against what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.features.keys import Keys
from recsys.features.rows import Rows, row_type
from recsys.features.seen import TASTED
from recsys.features.tables import DISLIKED, PLACES, empty_tables
from recsys.features.windows import TOTALS
from serving.shared_state.link import Link, NoState
from serving.shared_state.resp import Names
from serving.shared_state.scripts import LETTERS, RECALL_SHA

# Counters of so many attribute values stand in one row: one alone is smaller than what the store needs to keep it.
PAGE = 64

_TABLES = empty_tables(values=0)
ROW_TYPES: dict[str, np.dtype[np.void]] = {
    "users": row_type(_TABLES.users),
    "items": row_type(_TABLES.items),
    "categories": row_type(_TABLES.categories),
    "surfaces": row_type(_TABLES.surfaces),
    "values": np.dtype([("keys", "<i8"), ("counts", "<i8", (PAGE, 2))]),
}
OVERALL_TYPE = row_type(_TABLES.overall)
PLACES_TYPE = np.dtype([("counts", "<i8", (PLACES, 2))])
_NO_KEYS: Keys = np.zeros(0, np.int64)


def _begin(table: str, column: str) -> int:
    fields = ROW_TYPES[table].fields
    assert fields is not None  # noqa: S101  # it is a row
    return int(fields[column][1])


_TOTALS = _begin("items", "counts") + 8 * TOTALS
# Where a user's row names the items that a ranking asks about, and where the row of such an item counts.
_CHOICES = (_begin("users", "liked_items"), TASTED, _begin("users", "disliked_items"), DISLIKED, _TOTALS, _TOTALS + 15)
_NO_CHOICES = (0, 0, 0, 0, 0, 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Keys by table, each once, and none of them ``NOBODY``; values by page, from 1.

    Of the ``chosen`` items totals are wanted and, with ``choices``, of those that the users' rows name. ``marks`` are
    those of events that may be learned already.
    """

    users: Keys = field(default_factory=_NO_KEYS.copy)
    items: Keys = field(default_factory=_NO_KEYS.copy)
    categories: Keys = field(default_factory=_NO_KEYS.copy)
    surfaces: Keys = field(default_factory=_NO_KEYS.copy)
    values: Keys = field(default_factory=_NO_KEYS.copy)
    chosen: Keys = field(default_factory=_NO_KEYS.copy)
    choices: bool = False
    marks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Rows of one table: ``there`` says of each key asked for whether it has a row; ``rows`` holds those that have."""

    there: npt.NDArray[np.bool_]
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer; ``learned`` says which of the marks are there.

    ``chosen`` [n] are the chosen items, then those that the users' rows name; ``totals`` [n, 2] are their views and
    clicks.
    """

    heard: Mapping[str, int]
    overall: Rows
    places: Rows
    tables: Mapping[str, Fetched]
    chosen: Keys
    totals: npt.NDArray[np.int64]
    learned: npt.NDArray[np.bool_]


def read(link: Link, base: bytes, wanted: Wanted, *, deadline: float, watched: bool = False) -> Found:
    """Ask for rows; what does not fit the question ends the link, as what comes too late does.

    All are of one moment, unless ``watched``: then who asks finds out when writing whether they were.

    Raises:
        NoState: no answer, none in time, one that does not fit the question, or there is no such generation.
    """
    nonce = token_bytes(16)
    named = (wanted.users.tobytes(), wanted.chosen.tobytes(), b"".join(wanted.marks))
    recall = ("EVALSHA", RECALL_SHA, 0, nonce, base, *named, *(_CHOICES if wanted.choices else _NO_CHOICES))
    names = (Names(base + LETTERS[table], getattr(wanted, table)) for table in LETTERS if table != "users")
    rows = ("MGET", base + b"overall", base + b"places", *names)
    try:
        ask = link.each if watched else link.together
        return _found(ask(recall, rows, deadline=deadline), nonce, wanted)
    except (ValueError, TypeError, IndexError, UnicodeDecodeError) as error:
        link.close()
        raise NoState("reply", f"it answered something else: {error}") from error


def names_of(begin: bytes, keys: Keys) -> list[bytes]:
    """Name the rows of keys."""
    whole = keys.astype("<i8").tobytes()
    return [begin + whole[place : place + 8] for place in range(0, len(whole), 8)]


def _found(reply: Any, nonce: bytes, wanted: Wanted) -> Found:
    recalled, rows = reply
    if recalled[0] != nonce:
        raise ValueError("the answer to another question")
    if len(recalled) == 1:
        raise NoState("absent", "it holds nothing of this bundle")
    _, heard, users, chosen, totals, learned = recalled
    overall, places, *others = rows
    tables = {"users": _fetched("users", wanted.users, [row or None for row in users])}
    for table in LETTERS:
        if table != "users":
            keys = getattr(wanted, table)
            tables[table] = _fetched(table, keys, others[: keys.size])
            others = others[keys.size :]
    if others or len(learned) != len(wanted.marks):
        raise ValueError(f"{len(others)} rows more than asked, {len(learned)} marks")
    chosen_keys, counts = np.frombuffer(chosen, "<i8"), np.frombuffer(totals, "<i8").reshape(-1, 2)
    if len(chosen_keys) != len(counts) or not np.array_equal(chosen_keys[: wanted.chosen.size], wanted.chosen):
        raise ValueError("totals of other items")
    return Found(
        heard={name.decode(): int(number) for name, number in zip(heard[::2], heard[1::2], strict=True)},
        overall=_one(overall, OVERALL_TYPE),
        places=_one(places, PLACES_TYPE),
        tables=tables,
        chosen=chosen_keys,
        totals=counts,
        learned=np.array(learned, np.bool_),
    )


def _fetched(table: str, keys: Keys, found: Sequence[bytes | None]) -> Fetched:
    there = np.array([row is not None for row in found], np.bool_)
    rows = np.frombuffer(b"".join([row for row in found if row is not None]), ROW_TYPES[table])
    if there.size != keys.size or not np.array_equal(rows["keys"], keys[there]):
        raise ValueError(f"{table}: rows of other keys")
    return Fetched(there=there, rows=rows)


def _one(row: bytes, kind: np.dtype[np.void]) -> Rows:
    rows = np.frombuffer(row, kind)
    if rows.size != 1:
        raise ValueError(f"{rows.size} rows instead of one")
    return rows
