"""Tells what a log has told before, from its file: the same events, joined the same way, in the same order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any

from recsys.events import Impression, Logged
from serving.event_rows import READ, event_of

_WIDTH = len(READ)
_SELECT = f"""
SELECT event.sequence, event.told_at, {", ".join(f"event.{name}" for name in READ)},
       {", ".join(f"list.{name}" for name in READ)}
FROM events AS event LEFT JOIN events AS list ON list.sequence = event.list_sequence
"""  # noqa: S608 - made of our own column names
_AT_ONCE = f"""{_SELECT}
WHERE event.sequence > :after AND event.sequence <= :upto AND event.told_at = event.sequence
ORDER BY event.sequence LIMIT :page
"""
_WITH_THEIR_LIST = f"""{_SELECT}
WHERE event.told_at > event.sequence AND (event.told_at, event.sequence) > (:told_at, :after) AND event.told_at <= :upto
ORDER BY event.told_at, event.sequence LIMIT :page
"""

# (told at, 0 for what is told at its own sequence and 1 for what waited, own sequence): the order of telling.
_Place = tuple[int, int, int]


def replay(connection: sqlite3.Connection, after: int, upto: int, page: int) -> Iterator[Logged]:
    """Yield what was told at the sequences above ``after`` up to ``upto``, holding two pages of rows at most."""
    both = merge(
        _told_at_once(connection, after, upto, page),
        _told_with_their_list(connection, after, upto, page),
        key=lambda placed: placed[0],
    )
    return (logged for _, logged in both)


def _told_at_once(connection: sqlite3.Connection, after: int, upto: int, page: int) -> Iterator[tuple[_Place, Logged]]:
    while rows := connection.execute(_AT_ONCE, {"after": after, "upto": upto, "page": page}).fetchall():
        for row in rows:
            yield (row[0], 0, row[0]), _logged(row)
        after = rows[-1][0]


def _told_with_their_list(
    connection: sqlite3.Connection, after: int, upto: int, page: int
) -> Iterator[tuple[_Place, Logged]]:
    told_at, own = after + 1, 0
    while rows := connection.execute(
        _WITH_THEIR_LIST, {"told_at": told_at, "after": own, "upto": upto, "page": page}
    ).fetchall():
        for row in rows:
            yield (row[1], 1, row[0]), _logged(row)
        own, told_at = rows[-1][:2]


def _logged(row: Sequence[Any]) -> Logged:
    event = event_of(row[2 : 2 + _WIDTH])
    shown = None if row[2 + _WIDTH] is None else event_of(row[2 + _WIDTH :])
    if shown is not None and not isinstance(shown, Impression):
        raise TypeError(f"the list of event {row[0]} is no impression")  # our own bug
    return Logged(sequence=row[1], event=event, shown=shown)
