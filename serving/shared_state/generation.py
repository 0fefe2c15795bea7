"""The generation of one bundle in the store: its name, and its beginning, which one server writes."""

from __future__ import annotations

import hashlib
import time
from secrets import token_bytes
from typing import Any

import numpy as np
import structlog

from recsys.features import snapshot
from recsys.features.ground import Ground
from recsys.features.keys import Keys
from recsys.features.rows import layout, to_rows
from recsys.features.state import FeatureState
from serving.shared_state.link import Link, NoState, Script
from serving.shared_state.rows import LETTERS, VALUE_TYPE, as_bits, check_status
from serving.shared_state.scripts import READ, SEED, SEED_TURN
from serving.shared_state.settings import RedisSettings

# Rows per call, so that rankings of other generations never wait for long.
_CHUNK = 500
_TURN_MS = 10_000
_POLL_S = 0.05

_log = structlog.get_logger()


class Generation:
    """What all servers of one bundle share; servers of another bundle, or of other features, never see it."""

    def __init__(self, url: str, bundled: FeatureState, bundle_id: str, settings: RedisSettings) -> None:
        named = f"{bundle_id}\0{bundled.feature_set.fingerprint}\0{layout()}"
        self.name = hashlib.sha256(named.encode()).hexdigest()[:16]
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
        link.call("SCRIPT", "LOAD", READ.text, deadline=time.monotonic() + self._settings.patience_s)
        return link

    def join(self, ground: Ground) -> None:
        """Make sure that the generation is there: write it, or wait until another server has written it.

        Raises:
            NoState: the store does not answer, or the other server takes longer than ``seed_wait_s``.
        """
        token = token_bytes(16)
        until = time.monotonic() + self._settings.seed_wait_s
        link = Link(self._url)
        try:
            while (status := self._run(link, SEED_TURN, token, _TURN_MS)) != b"complete":
                if status == b"ok":
                    self._write(link, token, ground)
                elif time.monotonic() > until:
                    raise NoState("absent", "another server writes the bundle's state into it, and does not end")
                else:
                    time.sleep(_POLL_S)
        finally:
            link.close()

    def _write(self, link: Link, token: bytes, ground: Ground) -> None:
        """Write the bundle's state, chunk by chunk; who pauses for longer than a turn is overtaken, and waits again."""
        began = time.monotonic()
        tables, value_keys, _ = snapshot.load(self._bundled.to_bytes())
        written = 0
        for name, letter in LETTERS.items():
            if name == "values":
                keys: Keys = value_keys
                rows = tables.values.astype("<i8").view(VALUE_TYPE)[:, 0]
            else:
                table: Any = getattr(tables, name)
                keys, rows = table.keys[: table.used[0]], None
            for first in range(0, keys.size, _CHUNK):
                slots = np.arange(first, min(first + _CHUNK, keys.size))
                chunk = rows[slots] if rows is not None else to_rows(table, slots)
                stay = stays(name, keys[slots], ground)
                words = (letter, keys[slots].tobytes(), chunk.tobytes(), stay, self._settings.keep_s)
                if self._run(link, SEED, token, _TURN_MS, *words) != b"ok":
                    return
            written += keys.size
        rest = (to_rows(tables.overall, np.zeros(1, np.int32)).tobytes(), tables.places.astype("<i8").tobytes())
        if self._run(link, SEED, token, _TURN_MS, "", *rest) == b"ok":
            seconds = round(time.monotonic() - began, 3)
            _log.info("bundle's state written into the store", generation=self.name, rows=written, seconds=seconds)

    def _run(self, link: Link, script: Script, *words: Any) -> bytes:
        nonce = token_bytes(16)
        deadline = time.monotonic() + self._settings.patience_s
        return check_status(link.run(script, nonce, self.base, *words, deadline=deadline), nonce)


def stays(table: str, keys: Keys, ground: Ground) -> bytes:
    """Say which rows of a table never expire: those of the catalog's items, of categories and of values."""
    if table == "items":
        return as_bits(ground.knows(keys))
    return as_bits(np.full(keys.size, table in ("categories", "values")))
