"""Features made anew, offline: a bundle whose own state is told of the logs as far as a receipt knew them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from recsys.features.event_operations import event_operations
from recsys.list_text import Unread
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.schema import RankRequest, Rung
from serving.data_directory import EVENTS, ITEMS
from serving.event_file import open_for_reading
from serving.event_replay import replay
from serving.item_log import ItemChange, ItemLog
from serving.item_replay import replay_changes, replay_items
from serving.receipt_rows import Run

# Events learned at a time, and read from the file at a time.
_PAGE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What one server was told: its event log, opened for reading, and its item log. The server may be running."""

    events: sqlite3.Connection
    items: ItemLog
    name: str

    @classmethod
    def open(cls, data: Path) -> Self:
        """Open the logs of a data directory.

        Raises:
            ConfigError: there is no event log.
            StorageError: the item log cannot be used.
        """
        events = open_for_reading(data / EVENTS)
        (name,) = events.execute("SELECT name FROM meta").fetchone()
        path = data / ITEMS
        return cls(events=events, items=ItemLog(path if path.is_file() else None), name=name)

    def events_before(self, moment_us: int, first: int, last: int) -> int:
        """Return the number of the newest event above ``first``, up to ``last``, that was received before a moment.

        Numbers were given in the order of time.
        """
        while first < last:
            middle = (first + last + 1) // 2
            row = self.events.execute(
                "SELECT received_us FROM events WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1", (middle,)
            ).fetchone()
            first, last = (middle, last) if row is None or row[0] < moment_us else (first, middle - 1)
        return first

    def shown_us(self, request_id: str) -> int | None:
        """Return when the list of a request was shown, as its event says; None where none was recorded."""
        row = self.events.execute(
            "SELECT ts FROM events WHERE type = 'impression' AND request_id = ?", (request_id,)
        ).fetchone()
        return None if row is None else int(row[0])

    def close(self) -> None:
        """Close both."""
        self.events.close()
        self.items.close()


class Recomputation:
    """A bundle whose state and items are brought to where a receipt knew them, each time further along the logs.

    The state learns as it does offline, from the events as they stand in the log now; memory holds it and one page of
    events. Changes of items take their turn where ``known_at`` says how many events were known by then, and else by the
    time at which they and the events were recorded.
    """

    def __init__(self, bundle: Path, logs: Logs, known_at: Callable[[int], int | None] = lambda _: None) -> None:
        self._bundle, self._logs, self._known_at = bundle, logs, known_at
        self.pipeline = RankingPipeline.load(bundle)
        self._events = self._items = 0

    def begin(self, run: Run) -> None:
        """Stand where a run of a server stood when it began.

        Without a snapshot it had all its items before it heard of the first event. With one, what it had learned met
        items that were put together anew, so that those added and deleted since the bundle was made are forgotten.
        """
        if run.snapshot == 0:
            self._load(run.items)
        elif run.snapshot < self._events or run.items < self._items:
            self._load(0)
        self.advance(run.snapshot, run.items)
        if run.snapshot and run.items:
            self.pipeline.follow(self._logs.name, run.snapshot)
            learned = self.pipeline.snapshot()
            self._load(run.items)
            self._events = self.pipeline.recall(learned, self._logs.name)
        self.advance(run.events, run.items)

    def advance(self, events: int, items: int) -> None:
        """Learn the events and make the changes of items up to a number each, in the order of time."""
        changes = self._logs.items.as_of(items, after=self._items)
        for known, group in groupby(changes, key=lambda change: self._events_at(change, events)):
            part = list(group)
            self._learn(known)
            replay_changes(part, self.pipeline)
            self._items = part[-1].sequence
        self._learn(events)

    def table(self, request: RankRequest, unread: Unread = ((), ()), rung: Rung = Rung.FULL) -> npt.NDArray[np.float32]:
        """Return the table [N, C] that a rung would score of a request as of here."""
        while self.pipeline.pending_texts:
            time.sleep(0.001)
        catalog, state = self.pipeline.catalog, self.pipeline.own_state
        lists = Lists.from_requests([request], catalog)
        seen = state.learn_and_look(event_operations(state, catalog, []), lists, np.zeros(1, np.int64))
        return self.pipeline.table(request, seen, unread, rung)

    def close(self) -> None:
        """Stop reading texts."""
        self.pipeline.close()

    def _load(self, items: int) -> None:
        self.pipeline.close()
        self.pipeline = RankingPipeline.load(self._bundle)
        replay_items(self._logs.items, self.pipeline, sequence=items)
        self._events, self._items = 0, items

    def _events_at(self, change: ItemChange, most: int) -> int:
        noted = self._known_at(change.sequence)
        if noted is not None:
            return min(noted, most)
        return self._logs.events_before(change.recorded_us, self._events, max(most, self._events))

    def _learn(self, upto: int) -> None:
        told = replay(self._logs.events, self._events, upto, _PAGE)
        while page := list(islice(told, _PAGE)):
            state = self.pipeline.own_state
            state.learn(event_operations(state, self.pipeline.catalog, self.pipeline.untrained(page)))
        self._events = max(self._events, upto)
