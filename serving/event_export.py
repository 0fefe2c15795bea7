"""Makes a dataset of an event log: lists with their clicks, and a report of how the clicks were joined."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl

from recsys.dataset import GrowingTable, refuse_existing
from recsys.dataset.columns import EVENTS, IMPRESSIONS
from recsys.errors import DatasetError, Fault
from recsys.files import whole_directory
from serving.event_file import open_for_reading

CLICK_WINDOW_S = 1_800.0

_PAGE = 10_000  # events read at a time
_LIST_COLUMNS = ("request_id", "user_id", "ts", "item_ids", "clicked", "query", "surface")
_EVENT_COLUMNS = ("event_id", "user_id", "item_id", "type", "ts")
_NEWEST = "SELECT sequence, received_us FROM events ORDER BY sequence DESC LIMIT 1"
_LISTS = """
SELECT sequence, request_id, user_id, ts, items, surface, query FROM events
WHERE sequence > ? AND sequence <= ? AND type = 'impression' ORDER BY sequence
"""
_CLICKS = """
SELECT list_sequence, place, ts, event_id, item_id FROM events
WHERE list_sequence > ? AND list_sequence <= ? ORDER BY list_sequence, ts, sequence
"""
_INTERACTIONS = """
SELECT event_id, user_id, item_id, type, ts FROM events
WHERE sequence > ? AND sequence <= ? AND type NOT IN ('impression', 'click') ORDER BY sequence
"""


@dataclass(slots=True, kw_only=True)
class JoinReport:
    """What the log held, and how its clicks found their lists.

    ``clicks`` = ``joined`` + ``late`` + ``double`` + ``off_list`` + ``orphans`` + ``open_clicks``. ``unknown_items``
    counts the places and events left out because the item table does not have their item.
    """

    impressions: int = 0
    open_lists: int = 0
    clicks: int = 0
    open_clicks: int = 0
    joined: int = 0
    late: int = 0
    double: int = 0
    off_list: int = 0
    orphans: int = 0
    interactions: int = 0
    unknown_items: int = 0

    @property
    def join_rate(self) -> float | None:
        """The share of the clicks not on open lists that became a clicked flag; None when there are none."""
        clicks = self.clicks - self.open_clicks
        return self.joined / clicks if clicks else None


def export_events(
    log: Path,
    items: pl.DataFrame,
    out: Path,
    *,
    click_window_s: float = CLICK_WINDOW_S,
    now_us: int,
    progress: Callable[[int, int], None] | None = None,
) -> JoinReport:
    """Write the log's lists, other events and the item table as a dataset, in bounded memory.

    A list whose click window reaches beyond ``now_us`` or beyond the newest event's arrival is left out: what was not
    clicked on it is not known yet. A click later than the window is an event of the type "click". Each list of an
    anonymous visitor gets a user of its own.

    Args:
        log: the log's file; a server may be writing to it.
        items: the item table, which is copied.
        out: the new dataset's directory.
        click_window_s: how long after its list a click sets the list's flag, in seconds.
        now_us: UTC microseconds.
        progress: called with the events done and the events in all.

    Raises:
        ConfigError: there is no log.
        DatasetError: ``out`` exists already, or no list is closed.
    """
    refuse_existing(out)
    with closing(open_for_reading(log)) as connection, whole_directory(out) as directory:
        connection.execute("BEGIN")  # one state of the log, whatever comes in meanwhile
        export = _Export(connection, frozenset(items["item_id"]), directory, round(click_window_s * 1e6), now_us)
        for done, newest in export.pages():
            if progress is not None:
                progress(done, newest)
        export.finish(out)
        items.write_parquet(directory / "items.parquet")
    return export.report


class _Export:
    """One export under way."""

    def __init__(
        self, connection: sqlite3.Connection, known: frozenset[str], directory: Path, window_us: int, now_us: int
    ) -> None:
        self.report = JoinReport()
        self._connection = connection
        self._known = known
        self._window_us = window_us
        newest = connection.execute(
            "SELECT sequence, received_us FROM events ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        self._newest = newest[0] if newest else 0
        self._horizon_us = min(now_us, newest[1]) if newest else now_us
        self._impressions = GrowingTable(directory, "impressions", IMPRESSIONS)
        self._events = GrowingTable(directory, "events", EVENTS)

    def pages(self) -> Iterator[tuple[int, int]]:
        """Write page after page; yields the events done and the events in all."""
        for after in range(0, self._newest, _PAGE):
            upto = min(after + _PAGE, self._newest)
            self._write(after, upto)
            yield upto, self._newest

    def finish(self, out: Path) -> None:
        """Count what no page sees, and make the tables whole."""
        count = "SELECT count(*) FROM events WHERE type = 'click'"
        (self.report.clicks,) = self._connection.execute(count).fetchone()
        (self.report.orphans,) = self._connection.execute(f"{count} AND list_sequence IS NULL").fetchone()
        if not self._impressions.rows:
            remedy = "wait until the click window of the first lists is over, or choose a shorter --click-window"
            problem = (
                "the log has no closed list with an item that the item table has: "
                f"{self.report.open_lists} of its {self.report.impressions} lists are still open"
            )
            raise DatasetError([Fault(file=str(out), column="", row=0, problem=problem, remedy=remedy)])
        self._impressions.finish()
        self._events.finish()

    def _write(self, after: int, upto: int) -> None:
        clicks = {
            sequence: list(rows)
            for sequence, rows in groupby(self._connection.execute(_CLICKS, (after, upto)), itemgetter(0))
        }
        lists: list[tuple[Any, ...]] = []
        events: list[tuple[Any, ...]] = []
        for sequence, request_id, user_id, ts, items, surface, query in self._connection.execute(_LISTS, (after, upto)):
            self.report.impressions += 1
            if ts + self._window_us > self._horizon_us:
                self.report.open_lists += 1
                self.report.open_clicks += len(clicks.get(sequence, ()))
                continue
            item_ids: list[str] = json.loads(items)
            user = user_id or f"anonymous-{blake2b(request_id.encode(), digest_size=16).hexdigest()}"
            clicked, late = self._joined(clicks.get(sequence, ()), ts)
            events += [(event_id, user, item_id, "click", at) for event_id, item_id, at in late if self._keep(item_id)]
            kept = [(item, place in clicked) for place, item in enumerate(item_ids) if self._keep(item)]
            if kept:
                lists.append(
                    (request_id, user, ts, [item for item, _ in kept], [flag for _, flag in kept], query, surface)
                )
        for row in self._connection.execute(_INTERACTIONS, (after, upto)):
            self.report.interactions += 1
            if self._keep(row[2]):
                events.append(row)
        self._impressions.add(
            _columns(("request_id", "user_id", "ts", "item_ids", "clicked", "query", "surface"), lists)
        )
        self._events.add(_columns(("event_id", "user_id", "item_id", "type", "ts"), events))

    def _joined(self, clicks: Any, shown_us: int) -> tuple[set[int], list[tuple[str, str, int]]]:
        """Return the places clicked in time, and the first late clicks on others: event id, item id, time."""
        seen: set[int] = set()
        clicked: set[int] = set()
        late: list[tuple[str, str, int]] = []
        for _, place, ts, event_id, item_id in clicks:
            if place is None:
                self.report.off_list += 1
            elif place in seen:
                self.report.double += 1
            elif ts <= shown_us + self._window_us:
                self.report.joined += 1
                clicked.add(place)
            else:
                self.report.late += 1
                late.append((event_id, item_id, ts))
            seen.add(place)
        return clicked, late

    def _keep(self, item_id: str) -> bool:
        if item_id in self._known:
            return True
        self.report.unknown_items += 1
        return False


def _columns(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
