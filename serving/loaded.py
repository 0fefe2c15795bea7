"""A bundle in memory, and its use by one request: it is not closed before the last one is done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from recsys.errors import RecsysError, TextFault
from recsys.events import Logged
from recsys.schema import Ranking, Rung, RungReason
from serving.model import Model
from serving.track_record import TrackRecord


class Loaded:
    """A bundle in memory; ``learn`` has it take note of events, ``closing`` is called after its last request.

    ``record`` counts since it was loaded, ``recent_record`` since it last came to serve. ``fault`` is why it must not
    be used any more, "" while it may.
    """

    def __init__(
        self,
        model: Model,
        *,
        learn: Callable[[Sequence[Logged]], None],
        closing: Callable[[], None],
        load_s: float,
    ) -> None:
        self.model, self.learn, self.load_s = model, learn, load_s
        self.record, self.recent_record = TrackRecord(), TrackRecord()
        self.in_flight = 0
        self.fault = ""
        self._closing = closing
        self._retired = self._closed = False
        self._changing = threading.Lock()

    @property
    def bundle_id(self) -> str:
        """The bundle's id."""
        return self.model.bundle_id

    def begin(self) -> None:
        """Count a request that will be answered by it."""
        with self._changing:
            self.in_flight += 1

    def end(self) -> None:
        """Count that request's end."""
        with self._changing:
            self.in_flight -= 1
        self._close_if_unused()

    def retire(self) -> None:
        """Close it when its last request is done, in a thread, because a text may be being read."""
        self._retired = True
        self._close_if_unused()

    def close(self) -> None:
        """Close it now, once."""
        with self._changing:
            closed, self._closed = self._closed, True
        if not closed:
            self._closing()

    def _close_if_unused(self) -> None:
        with self._changing:
            done = self._retired and not self.in_flight
        if done:
            threading.Thread(target=self.close, name="close bundle", daemon=True).start()


class Lease:
    """The bundle of one request, for as long as the ``with`` block runs: it is neither changed nor closed meanwhile.

    ``serving`` tells whether it answers because it is the one that serves; ``variant`` names the group otherwise.
    """

    def __init__(self, loaded: Loaded, *, variant: str, serving: bool) -> None:
        self.model = loaded.model
        self.variant, self.serving = variant, serving
        self._loaded = loaded

    def took(self, ranking: Ranking, candidates: int, seconds: float) -> None:
        """Note that a ranking was made, and how long it took to compute.

        One at which the text model failed is a failure; one on a lower rung says nothing about the bundle's pace.
        """
        for record in (self._loaded.record, self._loaded.recent_record):
            if ranking.rung_reason is RungReason.FAULT:
                record.failed += 1
            elif ranking.rung is Rung.FULL:
                record.note(candidates, seconds)
            else:
                record.answered += 1

    def __enter__(self) -> Self:
        self._loaded.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loaded.end()
        # What is refused, expired or cancelled is not the bundle's fault; that its text model fails, is.
        not_its_own = isinstance(error, RecsysError | asyncio.CancelledError | TimeoutError)
        if error is not None and (isinstance(error, TextFault) or not not_its_own):
            self._loaded.record.failed += 1
            self._loaded.recent_record.failed += 1
