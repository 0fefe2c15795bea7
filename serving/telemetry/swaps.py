"""Counts what becomes of bundles that are to serve, and what shadows find."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.telemetry.metrics import Metrics
from serving.telemetry.readings import Read

if TYPE_CHECKING:
    from serving.order_shift import Shift
    from serving.shadow import Shadow


class SwapsWatched:
    """Observes swaps in the event loop, and comparisons in the shadow's thread."""

    def __init__(self, metrics: Metrics, follow: Callable[[str, Read], None]) -> None:
        self._metrics, self._follow = metrics, follow
        for outcome in ("swapped", "refused", "rolled_back_by_command", "rolled_back_by_alarm"):
            metrics.swaps.labels(outcome)

    def swapped(self, seconds: float) -> None:
        """Count a bundle that has come to serve, so long after it was asked for."""
        self._metrics.swaps.labels("swapped").inc()
        self._metrics.swap_seconds.observe(seconds)

    def refused(self) -> None:
        """Count a bundle that was not taken, or that could not follow."""
        self._metrics.swaps.labels("refused").inc()

    def rolled_back(self, by: str) -> None:
        """Count a return to the bundle before: by command, or by alarm."""
        self._metrics.swaps.labels(f"rolled_back_by_{by}").inc()

    def compared(self, shift: Shift, seconds: float) -> None:
        """Observe a ranking of a shadow beside the answer."""
        self._metrics.shadow_top_overlap.observe(shift.top_overlap)
        self._metrics.shadow_kendall_tau.observe(shift.kendall_tau)
        self._metrics.shadow_seconds.observe(seconds)

    def follow_shadow(self, shadow: Shadow) -> None:
        """Show the counts of a shadow; the former one's are gone."""
        self._follow(
            "recsys_shadow_rankings_total",
            lambda: {("ranked",): shadow.ranked, ("dropped",): shadow.dropped, ("failed",): shadow.failed},
        )
