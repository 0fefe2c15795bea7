"""What an operator is told of one server at one moment, taken from the figures that Prometheus gets too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry

from recsys.gpu import GpuState
from recsys.registry import Registry
from serving.bundles import Bundles
from serving.swap_report import SwapReport
from serving.telemetry.recent import RecentCalls
from serving.telemetry.telemetry import Telemetry


class Store(StrEnum):
    """Where what people did is kept: by this server alone, or in a shared store and how that does."""

    OWN = "own"
    UP_TO_DATE = "up_to_date"
    BEHIND = "behind"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """One server at one moment.

    ``bundle_id`` answers, "" while it is loading; ``current_bundle_id`` is the registry's, "" where it has none. Times
    are in seconds, ``created_us`` in UTC microseconds. ``degraded`` counts answers since the start, by reason, ``shed``
    what was refused because there was too much; ``in_flight_limit`` is how many rankings may be in flight.
    ``state_versions`` are up to where each event log is known. ``in_flight`` counts the call that asks, too. ``swaps``
    tells of the bundles in memory.
    """

    bundle_id: str
    created_us: int
    code_version: str
    current_bundle_id: str
    uptime_s: float
    load_s: float
    state_versions: Mapping[str, int]
    state_age_s: float
    event_log_sequence: int
    store: Store
    in_flight: int
    queue_length: int
    methods: tuple[RecentCalls, ...]
    degraded: Mapping[str, int]
    pending_texts: int
    memory_bytes: int
    gpu: GpuState
    gpu_faults: int
    shed: Mapping[str, int]
    in_flight_limit: int
    swaps: SwapReport


class Reporter:
    """Reports on the server that ``telemetry`` watches, and on its ``bundles`` by ``swaps``; for any thread."""

    def __init__(self, telemetry: Telemetry, registry: Path, bundles: Bundles) -> None:
        self.swaps: Callable[[], SwapReport] = SwapReport
        self._bundles = bundles
        self._telemetry = telemetry
        self._registry = Registry(registry)
        self._started = time.monotonic()

    def report(self) -> ServerReport:
        """Look at everything now."""
        serving, figures = self._bundles.serving, _Figures(self._telemetry.registry)
        bundles = figures.by("recsys_bundle_info", "bundle_id")
        promoted = ("", *self._registry.promoted())
        return ServerReport(
            bundle_id="".join(bundles),
            created_us=round(figures.one("recsys_bundle_created_timestamp_seconds") * 1e6),
            code_version="".join(figures.by("recsys_bundle_info", "code_version")),
            current_bundle_id=promoted[-1],
            uptime_s=time.monotonic() - self._started,
            load_s=figures.one("recsys_model_load_seconds"),
            state_versions={} if serving is None else dict(serving.model.state_versions),
            state_age_s=figures.one("recsys_state_age_seconds"),
            event_log_sequence=int(figures.one("recsys_event_log_sequence")),
            store=figures.store(),
            in_flight=int(sum(figures.by("recsys_calls_in_flight", "method").values())),
            queue_length=int(figures.one("recsys_queue_length")),
            methods=tuple(recent.now(name) for name, recent in sorted(self._telemetry.calls.recent.items())),
            degraded={name: int(n) for name, n in figures.by("recsys_degraded_answers_total", "reason").items()},
            pending_texts=int(figures.one("recsys_pending_texts")),
            memory_bytes=int(figures.one("process_resident_memory_bytes")),
            gpu=GpuState("".join(figures.by("recsys_gpu_state", "state")) or GpuState.NONE),
            gpu_faults=int(sum(figures.by("recsys_gpu_faults_total", "fault").values())),
            shed={name: int(n) for name, n in figures.by("recsys_shed_total", "reason").items() if n},
            in_flight_limit=int(figures.one("recsys_in_flight_limit")),
            swaps=self.swaps(),
        )


class _Figures:
    """All figures of one moment, by name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples = [sample for family in registry.collect() for sample in family.samples]

    def by(self, name: str, label: str = "") -> dict[str, float]:
        """Return a figure's values by one of its labels; empty where nothing is known."""
        return {each.labels.get(label, ""): each.value for each in self._samples if each.name == name}

    def one(self, name: str) -> float:
        """Return a figure without labels; 0 where nothing is known."""
        return self.by(name).get("", 0.0)

    def store(self) -> Store:
        """Say how the shared store does, where there is one."""
        behind = self.by("recsys_store_behind")
        if not behind:
            return Store.OWN
        if self.one("recsys_store_away"):
            return Store.AWAY
        return Store.BEHIND if any(behind.values()) else Store.UP_TO_DATE
