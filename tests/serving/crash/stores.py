"""What is known of people when no server runs, of either store, and the same counted anew from the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from recsys.events import INTERACTIONS
from recsys.features import FeatureState
from recsys.features import snapshot as snapshots
from recsys.features.keys import key_of
from recsys.features.windows import TOTALS
from recsys.files import write_file
from recsys.pipeline import RankingPipeline
from recsys.schema import ACTION_CODE
from serving.config import ServerConfig
from serving.data_directory import DataDirectory
from serving.event_log import EventLog
from serving.restore import restore_state
from serving.shared_learning import share
from serving.shared_state.rows import OVERALL_TYPE, PLACES_TYPE, ROW_TYPES
from serving.shared_state.scripts import LETTERS

Rows = dict[bytes, bytes]
_TYPES = {
    **{letter: (table, ROW_TYPES[table]) for table, letter in LETTERS.items()},
    b"overall": ("overall", OVERALL_TYPE),
    b"places": ("places", PLACES_TYPE),
}


class Recount:
    """What the bundle knows after a log's first events, heard one after the other by a model that nobody kills."""

    def __init__(self, bundle: Path, counted_rows: Callable[[FeatureState], Rows]) -> None:
        self._model = RankingPipeline.load(bundle)
        self._counted_rows = counted_rows
        self._heard = 0
        self.item_ids = list(self._model.catalog.ids)
        self.rows = self.bundled = counted_rows(self._model.own_state)

    def upto(self, log: EventLog, heard: int) -> Rows:
        """Hear on, up to a sequence number that is no smaller than the last one; returns all rows."""
        assert heard >= self._heard
        for told in log.since(self._heard):
            self._model.learn([each for each in told if each.sequence <= heard])
        self._heard, self.rows = heard, self._counted_rows(self._model.own_state)
        return self.rows


class MemoryStore:
    """One server's own state: what its newest snapshot says."""

    def __init__(self, bundle: Path, data: Path, counted_rows: Callable[[FeatureState], Rows]) -> None:
        self.words: tuple[str, ...] = ()
        self._path = data / f"state-{bundle.name}.safetensors"
        self._rows = counted_rows
        self._model = RankingPipeline.load(bundle)
        self._bundled = self._model.snapshot()

    def known(self, log_name: str) -> tuple[int, Rows]:
        """Return up to where the log is known, and all rows."""
        written = self._path.read_bytes() if self._path.exists() else self._bundled
        heard = snapshots.load(written).versions.get(log_name, 0)
        return heard, self._rows(FeatureState.from_bytes(written, self._model.catalog))

    def catch_up(self, model: RankingPipeline, data: DataDirectory) -> None:
        """Do as a server does from its start to its stop."""
        restore_state(model, data)
        write_file(self._path, model.snapshot())

    def note(self, log_name: str, heard: int) -> None:
        """Plant a fault: what is known stays, but it says to know the log up to another place."""
        self._model.recall(self._path.read_bytes(), log_name)
        self._model.follow(log_name, heard)
        write_file(self._path, self._model.snapshot())


class RedisStore:
    """The state in Redis."""

    def __init__(self, server: Any, stored_rows: Callable[..., Rows]) -> None:
        self.words = ("--store", server.url)
        self._redis = server.connect()
        self._rows = stored_rows

    def known(self, log_name: str) -> tuple[int, Rows]:
        """Return up to where the log is known, and all rows, once nothing comes any more of a process that died."""
        while len(self._redis.client_list()) > 1:
            time.sleep(0.01)
        return int(self._redis.hget(self._heard, log_name) or 0), self._rows(self._redis, "recsys")

    def catch_up(self, model: RankingPipeline, data: DataDirectory) -> None:
        """Do as a server does from its start to its stop."""
        share(model, ServerConfig(registry=Path("unused"), store=self.words[1], threads=1), data.event_log)
        model.state.close()  # type: ignore[attr-defined] # it is shared now

    def note(self, log_name: str, heard: int) -> None:
        """Plant a fault: what is known stays, but it says to know the log up to another place, and has no marks."""
        self._redis.hset(self._heard, log_name, heard)
        marks = self._heard.removesuffix(b"heard") + b"m*"
        self._redis.delete(*self._redis.scan_iter(match=marks, count=1_000))

    @property
    def _heard(self) -> bytes:
        (complete,) = self._redis.scan_iter(match="recsys:*:complete", count=1_000)
        return bytes(complete).removesuffix(b"complete") + b"heard"


Store = MemoryStore | RedisStore


def differing(left: Rows, right: Rows) -> dict[str, set[str]]:
    """Name the columns in which rows differ, by table; a row of which nothing was learned is as good as none."""
    found: dict[str, set[str]] = {}
    for name in left.keys() | right.keys():
        table, kind = _TYPES[name if name in _TYPES else name[:1]]
        ours, theirs = (np.frombuffer(rows.get(name, bytes(kind.itemsize)), kind) for rows in (left, right))
        names = [column for column in kind.names or () if column != "keys"]
        if columns := {column for column in names if ours[column].tobytes() != theirs[column].tobytes()}:
            found.setdefault(table, set()).update(columns)
    return found


def learned_totals(before: Rows, after: Rows, item_ids: Iterable[str]) -> Counter[tuple[str, str]]:
    """Return the same figures as ``events.counted`` from what was known before and is known after."""
    found: Counter[tuple[str, str]] = Counter()
    for item_id in item_ids:
        name, kind = LETTERS["items"] + np.int64(key_of(item_id)).tobytes(), ROW_TYPES["items"]
        old, new = (np.frombuffer(rows.get(name, bytes(kind.itemsize)), kind)[0] for rows in (before, after))
        counts, actions = new["counts"] - old["counts"], new["actions"] - old["actions"]
        found[item_id, "view"], found[item_id, "click"] = counts[TOTALS : TOTALS + 2].tolist()
        for action in INTERACTIONS:
            found[item_id, action] = int(actions[ACTION_CODE[action]])
    return +found
