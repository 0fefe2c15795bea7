"""Brings what a server is told to every loaded bundle: the same events and changes of items, in the same order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import polars as pl
import structlog

from recsys.events import Logged
from serving.event_log import EventLog
from serving.item_log import ItemLog, changes_of
from serving.item_replay import replay_changes
from serving.loaded import Loaded
from serving.logging import frames_of
from serving.receipt_writer import ReceiptWriter
from serving.restore import Restored

_log = structlog.get_logger()


class LiveState:
    """The logs of one server and the bundles that follow them, the one that serves first; safe for several threads.

    One change is made at a time, in all of them, so that each knows as many events when an item changes as the others
    do. A bundle that cannot follow falls out, and ``fell_out`` is called with it, in the thread that told; the one that
    serves never does: what it cannot learn or be told is told to nobody, and whoever tells gets the error.
    ``receipts`` is told which events were known when items changed.
    """

    def __init__(self, item_log: ItemLog, event_log: EventLog | None) -> None:
        self.item_log, self.event_log = item_log, event_log
        self.receipts: ReceiptWriter | None = None
        self.fell_out: Callable[[Loaded], None] = lambda _: None
        # Before a bundle follows, and so before anybody tells anything, all of the log is learned by whoever joins.
        self._learned = 0 if event_log is None else event_log.sequence
        self._followers: tuple[Loaded, ...] = ()
        # Up to where each follower had learned the log by itself when it joined.
        self._joined_at: dict[str, int] = {}
        self._telling = threading.Lock()

    @property
    def leads(self) -> bool:
        """Whether a bundle follows, so that it serves."""
        return bool(self._followers)

    @property
    def item_schema(self) -> pl.Schema:
        """The columns of the items of the bundle that serves."""
        return self._followers[0].model.item_schema

    def join(self, loaded: Loaded, restored: Restored) -> None:
        """Bring a bundle to where the others are, and have it follow from there: nothing is left out or told twice.

        Raises:
            StorageError: a log cannot be read.
        """
        # Most of it without holding up those who tell.
        if self._followers:
            self._catch_up(restored, self._learned)
        with self._telling:
            self._catch_up(restored, self._learned)
            self._joined_at[loaded.bundle_id] = max(restored.events, self._learned)
            self._followers = (*self._followers, loaded)

    def lead(self, loaded: Loaded) -> None:
        """Tell this follower first from now on: it serves."""
        with self._telling:
            self._followers = (loaded, *(each for each in self._followers if each is not loaded))

    def leave(self, loaded: Loaded) -> None:
        """Tell this one nothing more."""
        with self._telling:
            self._followers = tuple(each for each in self._followers if each is not loaded)

    def learn(self, told: Sequence[Logged]) -> None:
        """Have all bundles learn what the event log tells; raises what keeps the one that serves from it."""
        with self._telling:
            for place, each in enumerate(self._followers):
                known = self._joined_at[each.bundle_id]
                news = told if told[0].sequence > known else [logged for logged in told if logged.sequence > known]
                try:
                    each.learn(news)
                except Exception as error:
                    if not place:
                        raise
                    self._fall_out(each, error)
            self._learned = max(self._learned, told[-1].sequence)

    def upsert(self, items: pl.DataFrame) -> int:
        """Add or replace items in all bundles, and count those that the one that serves did not know so.

        What is news to any of them is in the item log before it is known.

        Raises:
            InvalidRequest: they do not fit the item table of the bundle that serves; nothing has changed.
            StorageError: they could not be made durable; nothing has changed.
        """
        logged = set[str]()

        def record(changes: pl.DataFrame) -> int:
            news = changes.filter(~pl.col("item_id").is_in(list(logged)))
            logged.update(news["item_id"])
            return self._noted(len(news), lambda: self.item_log.upserted(news))

        with self._telling:
            first, *others = self._followers
            count = first.model.upsert(items, record)
            if others:
                changes = list(changes_of(items))
                self._tell(others, lambda each: replay_changes(changes, each.model, record))
        return count

    def delete(self, item_ids: Iterable[str]) -> int:
        """Make items unknown to all bundles, and count those that the one that serves knew; as ``upsert``."""
        ids = list(item_ids)
        logged = set[str]()

        def record(known: list[str]) -> int:
            news = [item_id for item_id in known if item_id not in logged]
            logged.update(news)
            return self._noted(len(news), lambda: self.item_log.deleted(news))

        with self._telling:
            first, *others = self._followers
            count = first.model.delete(ids, record)
            self._tell(others, lambda each: each.model.delete(ids, record))
        return count

    def _noted(self, count: int, append: Callable[[], int]) -> int:
        """Append changes to the item log, and note for those who check receipts which events were known by then."""
        if not count:
            return self.item_log.sequence
        sequence = append()
        if self.receipts is not None:
            # Not what a model says, which, where servers share a state, is up to where the last ranking knew it.
            known = {} if self.event_log is None else {self.event_log.name: self._learned}
            self.receipts.note(range(sequence - count + 1, sequence + 1), known)
        return sequence

    def _tell(self, others: Iterable[Loaded], tell: Callable[[Loaded], object]) -> None:
        for each in others:
            try:
                tell(each)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is that bundle's, and not the caller's
                self._fall_out(each, error)

    def _fall_out(self, loaded: Loaded, error: Exception) -> None:
        self._followers = tuple(each for each in self._followers if each is not loaded)
        _log.error("bundle fell out", bundle_id=loaded.bundle_id, frames=frames_of(error))
        self.fell_out(loaded)

    def _catch_up(self, restored: Restored, events: int) -> None:
        """Make the changes of items that a bundle lacks, each where ``events`` say that the others made it.

        ``events`` were read before the changes are, so that none of those to come was made with fewer known.
        """
        model, log = restored.model, self.item_log
        for change in log.as_of(log.sequence, after=restored.items):
            known = None if self.receipts is None else self.receipts.known_at(change.sequence)
            if known is not None:
                restored.learn_until(min(known, events))
            replay_changes([change], model)
            restored.items = change.sequence
        model.follow_items(restored.items)
        restored.learn_until(events)
