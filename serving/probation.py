"""The time after a swap in which a bundle is watched, and taken back if it does worse than the one before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from serving.loaded import Loaded
from serving.shadow import Shadow
from serving.swap_settings import SwapSettings

# Below so many rankings, or comparisons, a share or a median is chance.
FEWEST = 50
# The share of the requests that the bundle before ranks too, where there is spare capacity.
_COMPARED = 0.2


@dataclass(slots=True, kw_only=True)
class Probation:
    """Watches a bundle that has come to serve, beside the one before, which still ranks a share in ``shadow``.

    ``former_pace`` and ``former_failed`` are of the one before while it served: the seconds that a candidate cost, 0
    where that is not known, and the share of its rankings that failed.
    """

    loaded: Loaded
    settings: SwapSettings
    shadow: Shadow
    any_order: bool
    former_pace: float
    former_failed: float
    ends: float

    @classmethod
    def begin(
        cls,
        loaded: Loaded,
        former: Loaded,
        settings: SwapSettings,
        spare: Callable[[], bool],
        *,
        any_order: bool,
    ) -> Probation:
        """Begin to watch; ``any_order`` leaves out how it orders."""
        before = former.recent_record
        return cls(
            loaded=loaded,
            settings=settings,
            shadow=Shadow(former, _COMPARED, spare),
            any_order=any_order,
            former_pace=before.pace if before.answered >= FEWEST else 0.0,
            former_failed=before.failed / max(1, before.answered + before.failed),
            ends=time.monotonic() + settings.probation_s,
        )

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.ends

    def fault(self) -> str:
        """Say for what the bundle has to go; empty while there is nothing."""
        record, settings = self.loaded.recent_record, self.settings
        asked = record.answered + record.failed
        failed = record.failed / max(1, asked)
        if asked >= FEWEST and failed > self.former_failed + settings.most_errors:
            return (
                f"{record.failed} of {asked} rankings failed by the server's fault, of the bundle before "
                f"{self.former_failed:.2%}; {settings.most_errors:.2%} more are allowed"
            )
        if record.answered >= FEWEST and (slower := self._slower()) > settings.most_slowdown:
            return (
                f"a ranking takes {slower:.1f} times as long as by the bundle before; "
                f"{settings.most_slowdown:g} times are allowed"
            )
        overlaps = list(self.shadow.overlaps)
        if not self.any_order and len(overlaps) >= FEWEST and fmean(overlaps) < settings.least_overlap:
            return order_fault(fmean(overlaps), settings.least_overlap)
        return ""

    def close(self) -> None:
        """Watch no more."""
        self.shadow.close()

    def _slower(self) -> float:
        """Return how many times as long its rankings take, at the least, as those of the one before; 0 if unknown.

        Against what the other took before the swap, and against what it takes for the same requests now: where more is
        asked of the machine than before the swap, that is not the bundle's fault.
        """
        before = self.loaded.recent_record.pace / self.former_pace if self.former_pace else 0.0
        beside = self.shadow.report()
        return min(before, beside.answer_p50_s / beside.p50_s) if beside.ranked >= FEWEST else before


def order_fault(overlap: float, least: float) -> str:
    """Say that a bundle orders too differently."""
    return (
        f"of its first ten items {overlap:.0%} are among the first ten of the bundle before, at least {least:.0%} have "
        "to be; if that is meant, take it with `recsys server swap --any-order`"
    )
