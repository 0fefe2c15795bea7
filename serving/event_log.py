"""The event log: what happened, once each, in the order in which it came, durable before it counts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from recsys.errors import NotRecorded
from recsys.events import Click, Event, Impression, Logged
from serving.event_file import open_file, open_for_reading, rows_at_once
from serving.event_join import Join, KnownList, Settled
from serving.event_replay import replay
from serving.event_rows import COLUMNS, READ, Row, event_of
from serving.recorded import Appended

LATE_WINDOW_S = 7 * 86_400.0

# Rows a statement: many at a time, because Python waits for its lock after each statement; a few sizes, so that the
# statements stay compiled.
_ROWS = (1_024, 256, 64, 16, 4, 1)
_INSERT = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES"
_ROW = f"({', '.join('?' * len(COLUMNS))})"
_SETTLE = """
UPDATE events SET list_sequence = settled.list_sequence, place = settled.place, told_at = settled.told_at
FROM (
    SELECT json_extract(value, '$[0]') AS sequence, json_extract(value, '$[1]') AS list_sequence,
           json_extract(value, '$[2]') AS place, json_extract(value, '$[3]') AS told_at
    FROM json_each(?)
) AS settled
WHERE events.sequence = settled.sequence
"""


class EventLog:
    """One file of events; ``append`` for one thread at a time, the rest for any.

    ``name`` is a random id that the file got when it was made. An event is known by its id for ever.
    """

    def __init__(self, path: Path, *, late_window_s: float = LATE_WINDOW_S, busy_timeout_s: float = 5.0) -> None:
        self._path = path
        self._late_window_us = round(late_window_s * 1_000_000)
        self._connection = open_file(path, busy_timeout_s=busy_timeout_s)
        (self.name,) = self._connection.execute("SELECT name FROM meta").fetchone()
        self._sequence = self._newest()

    @property
    def sequence(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._sequence

    @property
    def newest_us(self) -> int:
        """When the newest event happened, in UTC microseconds; 0 before the first."""
        with closing(open_for_reading(self._path)) as connection:
            row = connection.execute("SELECT ts FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
        return row[0] if row else 0

    def append(self, events: Sequence[Event], *, now_us: int) -> Appended:
        """Record the events in one transaction, in their order; durable when this returns.

        An event whose id is known is a duplicate, whatever else it says. Times up to five minutes ahead are taken as
        ``now_us`` (UTC microseconds); what is later, or older than the late window, or a second list of one request id,
        is rejected.

        Raises:
            NotRecorded: the file could not be written; nothing of the events is in it.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                join = self._join(events, now_us)
                self._insert(join.rows)
                self._settle(join.settled)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # some errors have ended it already
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise NotRecorded(
                f"the events could not be stored ({error}); nothing of them is recorded, "
                "see to the disk of the server's data directory and send them again"
            ) from error
        self._sequence = join.sequence
        return Appended(
            size=len(events),
            duplicates=tuple(join.duplicates),
            rejected=tuple(join.rejected),
            sequence=join.sequence,
            told=join.told,
        )

    def since(self, sequence: int, *, upto: int | None = None, batch: int = 10_000) -> Iterator[list[Logged]]:
        """Yield again what was told after ``sequence``, up to a number: by default the newest when this is first asked.

        A batch ends between two sequences, so that whoever has learned it is at the last one's; it is larger than
        ``batch`` only by what belongs to that sequence. Memory does not grow with the log.
        """
        with closing(open_for_reading(self._path)) as connection:
            held: list[Logged] = []
            for logged in replay(connection, sequence, self._sequence if upto is None else upto, batch):
                if len(held) >= batch and logged.sequence != held[-1].sequence:
                    yield held
                    held = []
                held.append(logged)
            if held:
                yield held

    def close(self) -> None:
        """Close the file; everything appended is in it."""
        self._connection.close()

    def _newest(self) -> int:
        (newest,) = self._connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        return int(newest)

    def _join(self, events: Sequence[Event], now_us: int) -> Join:
        known = {row[0] for row in self._named("event_id", "event_id", [event.event_id for event in events])}
        clicked = {event.request_id for event in events if isinstance(event, Click)}
        shown = {event.request_id for event in events if isinstance(event, Impression)}
        join = Join(
            newest=self._newest(),
            now_us=now_us,
            late_window_us=self._late_window_us,
            known=known,
            lists=self._lists(sorted(clicked | shown)),
            waiting=self._waiting(sorted(shown)),
        )
        for position, event in enumerate(events):
            join.take(position, event)
        return join

    def _lists(self, request_ids: list[str]) -> dict[str, KnownList]:
        lists: dict[int, KnownList] = {}
        for sequence, *row in self._named(
            f"sequence, {', '.join(READ)}", "request_id", request_ids, "type = 'impression'"
        ):
            shown = event_of(row)
            if isinstance(shown, Impression):
                lists[sequence] = KnownList(sequence=sequence, shown=shown)
        rest = (
            "FROM events WHERE list_sequence IN (SELECT value FROM json_each(?)) "
            "AND list_sequence IS NOT NULL AND told_at IS NOT NULL"
        )
        for sequence, place in rows_at_once(self._connection, "list_sequence, place", rest, [json.dumps([*lists])]):
            lists[sequence].clicked.add(place)
        return {known.shown.request_id: known for known in lists.values()}

    def _waiting(self, request_ids: list[str]) -> dict[str, list[tuple[int, Click]]]:
        waiting: dict[str, list[tuple[int, Click]]] = {}
        rows = self._named(
            f"sequence, {', '.join(READ)}", "request_id", request_ids, "type = 'click' AND list_sequence IS NULL"
        )
        for sequence, *row in sorted(rows):
            click = event_of(row)
            if isinstance(click, Click):
                waiting.setdefault(click.request_id, []).append((sequence, click))
        return waiting

    def _named(self, values: str, column: str, ids: list[str], condition: str = "TRUE") -> list[list[Any]]:
        """Return the rows whose column is one of the ids; these are parameters, as SQLite's JSON cuts texts at NUL."""
        rows: list[list[Any]] = []
        for start in range(0, len(ids), _ROWS[0]):
            part = ids[start : start + _ROWS[0]]
            size = min(size for size in _ROWS if size >= len(part))
            rest = f"FROM events WHERE {column} IN ({', '.join('?' * size)}) AND {condition}"
            rows += rows_at_once(self._connection, values, rest, part + part[-1:] * (size - len(part)))
        return rows

    def _insert(self, rows: list[Row]) -> None:
        start = 0
        for size in _ROWS:
            statement = f"{_INSERT} {', '.join([_ROW] * size)}"
            while len(rows) - start >= size:
                self._connection.execute(statement, [value for row in rows[start : start + size] for value in row])
                start += size

    def _settle(self, settled: list[Settled]) -> None:
        if settled:
            rows = [[click.sequence, click.list_sequence, click.place, click.told_at] for click in settled]
            self._connection.execute(_SETTLE, [json.dumps(rows)])
