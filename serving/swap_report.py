"""What is told of the bundles of a server: those in memory, the last change, the last refusal."""

from __future__ import annotations

from dataclasses import dataclass

from serving.shadow import ShadowReport
from serving.variants import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedReport:
    """A bundle in memory and what it is there for; counts since it was loaded."""

    bundle_id: str
    roles: tuple[str, ...]
    in_flight: int
    rankings: int
    failed: int
    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """One change of the bundle that serves, or one that was not made, and why; ``time_us`` in UTC microseconds."""

    bundle_id: str
    from_bundle_id: str
    time_us: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapReport:
    """All of it at one moment.

    ``preparing`` is the bundle that is being loaded, ``before`` the one that a rollback returns to; "" where none is.
    """

    loaded: tuple[LoadedReport, ...] = ()
    variants: tuple[Variant, ...] = ()
    shadow: ShadowReport | None = None
    last_swap: Swapped | None = None
    last_refusal: Swapped | None = None
    preparing: str = ""
    before: str = ""
