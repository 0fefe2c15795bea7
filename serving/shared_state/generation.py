"""The generation of one bundle in the store: its name, and its beginning, which one server writes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from secrets import token_bytes
from typing import Any

import numpy as np
import structlog

from recsys.features import snapshot
from recsys.features.ground import Ground
from recsys.features.rows import Rows, layout, to_rows
from recsys.features.state import FeatureState
from recsys.features.tables import Tables
from serving.shared_state.link import Link, NoState
from serving.shared_state.rows import PAGE, ROW_TYPES, names_of
from serving.shared_state.scripts import LETTERS, RECALL
from serving.shared_state.settings import RedisSettings

# Rows per call, so that rankings of other generations never wait for long.
_CHUNK = 500
_TURN_MS = 10_000
_POLL_S = 0.05
_FORGET_S = 5.0

_log = structlog.get_logger()


class Generation:
    """What all servers of one bundle share; servers of another bundle, or of other features, never see it."""

    def __init__(self, url: str, bundled: FeatureState, bundle_id: str, settings: RedisSettings) -> None:
        named = f"{bundle_id}\0{bundled.feature_set.fingerprint}\0{layout()}\0{PAGE}\0".encode()
        # Values are counted by their codes.
        self.name = hashlib.sha256(named + bundled.facts.values.keys().tobytes()).hexdigest()[:16]
        self.base = f"{settings.prefix}:{self.name}:".encode()
        self._url = url
        self._bundled = bundled
        self._settings = settings
        Link(url)  # refuses a URL that cannot be used

    def open_link(self) -> Link:
        """Return a new link that has been tried and knows the script of a ranking.

        Raises:
            NoState: the store does not answer.
        """
        link = Link(self._url)
        link.open()
        link.call("SCRIPT", "LOAD", RECALL, deadline=self._soon())
        return link

    def join(self, ground: Ground) -> None:
        """Make sure that the generation is there: write it, or wait until another server has written it.

        Raises:
            NoState: the store does not answer, or the other server takes longer than ``seed_wait_s``.
        """
        token = token_bytes(16)
        until = time.monotonic() + self._settings.seed_wait_s
        link = self.open_link()
        try:
            while not link.call("EXISTS", self.base + b"complete", deadline=self._soon()):
                if link.call("SET", self.base + b"seed", token, "NX", "PX", _TURN_MS, deadline=self._soon()):
                    self._write(link, token, ground)
                elif time.monotonic() > until:
                    raise NoState("absent", "another server writes the bundle's state into it, and does not end")
                else:
                    time.sleep(_POLL_S)
        finally:
            link.close()

    def _write(self, link: Link, token: bytes, ground: Ground) -> None:
        """Write the bundle's state, chunk by chunk; who pauses for longer than a turn is overtaken, and waits again."""
        began, written = time.monotonic(), 0
        tables = snapshot.load(self._bundled.to_bytes()).tables
        for table in LETTERS:
            for rows in _chunks(tables, table):
                if not self._write_if(link, token, put(self.base, table, rows, ground, self._settings.keep_s)):
                    return
                written += rows.size
        overall = to_rows(tables.overall, np.zeros(1, np.int32)).tobytes()
        places = tables.places.astype("<i8").tobytes()
        last = ("MSET", self.base + b"overall", overall, self.base + b"places", places, self.base + b"complete", b"1")
        if self._write_if(link, token, [last, ("DEL", self.base + b"seed")]):
            seconds = round(time.monotonic() - began, 3)
            _log.info("bundle's state written into the store", generation=self.name, rows=written, seconds=seconds)

    def _write_if(self, link: Link, token: bytes, commands: list[tuple[Any, ...]]) -> bool:
        """Write while it is this server's turn to begin the generation, and keep the turn; False if it is another's."""
        seed, complete = self.base + b"seed", self.base + b"complete"
        found = link.each(("WATCH", seed, complete), ("GET", seed), ("EXISTS", complete), deadline=self._soon())
        if found[1:] != [token, 0]:
            link.call("UNWATCH", deadline=self._soon())
            return False
        return link.together(*commands, ("PEXPIRE", seed, _TURN_MS), deadline=self._soon()) is not None

    def _soon(self) -> float:
        return time.monotonic() + self._settings.patience_s


def forget_generation(url: str, name: str, *, prefix: str = "recsys") -> int:
    """Delete what a bundle that nobody serves any more has left in a store; returns how many keys that were.

    The store names its generations in the keys ``PREFIX:NAME:complete``. A server that still serves the bundle ranks
    without state from then on, and begins it anew when it next catches up.

    Raises:
        NoState: the store does not answer; what is left can be deleted by calling this again.
    """
    link, cursor, deleted = Link(url), b"0", 0
    link.open()
    try:
        while True:
            deadline = time.monotonic() + _FORGET_S
            cursor, names = link.call("SCAN", cursor, "MATCH", f"{prefix}:{name}:*", "COUNT", 1_000, deadline=deadline)
            if names:
                deleted += link.call("UNLINK", *names, deadline=deadline)
            if cursor == b"0":
                return deleted
    finally:
        link.close()


def put(base: bytes, table: str, rows: Rows, ground: Ground, seconds: int) -> list[tuple[Any, ...]]:
    """Return the commands that write rows; those of the catalog's items, of categories and of values never expire."""
    names, data, size = names_of(base + LETTERS[table], rows["keys"]), rows.tobytes(), rows.dtype.itemsize
    written = [data[place : place + size] for place in range(0, len(data), size)]
    stay = ground.knows(rows["keys"]) if table == "items" else np.full(rows.size, table in ("categories", "values"))
    staying = [word for place in np.flatnonzero(stay).tolist() for word in (names[place], written[place])]
    going = np.flatnonzero(~stay).tolist()
    return [
        *([("MSET", *staying)] if staying else []),
        *(("SET", names[place], written[place], "EX", seconds) for place in going),
    ]


def _chunks(tables: Tables, name: str) -> Iterator[Rows]:
    """Write down a table in parts."""
    if name == "values":
        pages = np.zeros(-(-len(tables.values) // PAGE), ROW_TYPES["values"])
        pages["keys"] = np.arange(1, pages.size + 1)
        counts = np.zeros((pages.size * PAGE, 2), np.int64)
        counts[: len(tables.values)] = tables.values
        pages["counts"] = counts.reshape(pages.size, PAGE, 2)
        yield pages
        return
    table: Any = getattr(tables, name)
    used = int(table.used[0])
    for first in range(0, used, _CHUNK):
        yield to_rows(table, np.arange(first, min(first + _CHUNK, used)))
