"""Observes events: what became of them, and how long it took to make them durable and to learn them."""

from __future__ import annotations

from collections.abc import Sequence

from serving.recorded import Rejected, RejectionReason
from serving.telemetry.metrics import Metrics

# The batch whose size is how many events share a commit.
COMMIT = "event_commit"


class EventsWatched:
    """Counts events; for any thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._accepted, self._duplicate, self._rejected = (
            metrics.events.labels(outcome) for outcome in ("accepted", "duplicate", "rejected")
        )
        self._reasons = {reason: metrics.rejected.labels(reason.value) for reason in RejectionReason}
        self._size = metrics.batch_size.labels(COMMIT)
        self._commit, self._learn = metrics.commit_seconds, metrics.learn_seconds

    def recorded(self, accepted: int, duplicates: int, rejected: Sequence[Rejected]) -> None:
        """Observe what became of the events of one message."""
        self._accepted.inc(accepted)
        self._duplicate.inc(duplicates)
        self._rejected.inc(len(rejected))
        for event in rejected:
            self._reasons[event.reason].inc()

    def committed(self, events: int, commit_s: float, learn_s: float) -> None:
        """Observe a group of events that is durable and learned."""
        self._size.observe(events)
        self._commit.observe(commit_s)
        self._learn.observe(learn_s)
