"""Figures that are not counted but read, by a function each, when somebody asks for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

# One number, or numbers by the values of the labels, which stand in their declared order.
Read = Callable[[], float | Mapping[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a figure says; one that only ever grows is ``counted``, and its name ends in _total."""

    says: str
    labels: tuple[str, ...] = ()
    counted: bool = False


READINGS: dict[str, Reading] = {
    "recsys_calls_in_flight": Reading(says="Calls being answered.", labels=("method",)),
    "recsys_queue_length": Reading(says="Rankings and item changes that wait for a thread."),
    "recsys_shed_total": Reading(
        says="Rankings refused because there were too many, by reason.", labels=("reason",), counted=True
    ),
    "recsys_threads": Reading(says="Threads that rank."),
    "recsys_thread_seconds_total": Reading(
        says="Seconds that threads have ranked, all of them together.", counted=True
    ),
    "recsys_in_flight_limit": Reading(says="How many rankings may be in flight, as their latency allows."),
    "recsys_bundle_info": Reading(says="1; which bundle answers.", labels=("bundle_id", "created", "code_version")),
    "recsys_bundle_created_timestamp_seconds": Reading(says="When the bundle was sealed, seconds since 1970."),
    "recsys_bundles_loaded": Reading(
        says="1; which bundles are in memory, and what for.", labels=("bundle_id", "role")
    ),
    "recsys_shadow_rankings_total": Reading(
        says="What became of the requests that the shadow was to rank.", labels=("outcome",), counted=True
    ),
    "recsys_model_load_seconds": Reading(says="How long it took to verify, load and restore the model."),
    "recsys_pending_texts": Reading(says="Texts of changed items that wait to be read."),
    "recsys_event_log_sequence": Reading(says="Number of the newest event in the log."),
    "recsys_events_waiting": Reading(says="Events that wait to be written."),
    "recsys_state_age_seconds": Reading(says="Age of the newest event that rankings know."),
    "recsys_state_behind_events": Reading(says="Events of this server's log that rankings do not know yet."),
    "recsys_store_behind": Reading(says="1 where the shared store lacks events of this server, else 0."),
    "recsys_store_away": Reading(says="1 where the shared store does not answer, else 0."),
    "recsys_store_missed_total": Reading(
        says="Rankings that the shared store did not answer.", labels=("reason",), counted=True
    ),
    "recsys_cache_hits_total": Reading(says="Looked up and found.", labels=("cache",), counted=True),
    "recsys_cache_misses_total": Reading(says="Looked up and not found.", labels=("cache",), counted=True),
    "recsys_gpu_state": Reading(
        says="1; whether texts are computed on a GPU: none, used, resting, lost.", labels=("state",)
    ),
    "recsys_gpu_faults_total": Reading(says="Times that the GPU failed.", labels=("fault",), counted=True),
    "recsys_gpu_missed_total": Reading(says="Computations done on the CPU in the GPU's place.", counted=True),
    "recsys_receipts_written_total": Reading(says="Receipts written.", counted=True),
    "recsys_receipts_dropped_total": Reading(says="Receipts that could not be written.", counted=True),
    "recsys_feature_drift": Reading(
        says="Population stability index against the first sampled rankings.", labels=("feature",)
    ),
    "recsys_drift_reference_lists": Reading(says="Sampled rankings that drift is measured against."),
    "recsys_drift_window_lists": Reading(says="Sampled rankings of the last hour, whose drift is measured."),
    "recsys_drift_dropped_total": Reading(says="Sampled rankings left out of the drift.", counted=True),
}


class Readings(Collector):
    """Reads what ``follow`` was given a function for; what nobody follows has no value, but its name is known."""

    def __init__(self) -> None:
        self._reads: dict[str, dict[str, Read]] = {}

    def follow(self, name: str, read: Read, *, source: str = "") -> None:
        """Have a declared figure read by a function; of several ``source`` the values stand together.

        A function given again for the same source takes the former one's place. It is called in the thread of
        whoever asks, so it has to be quick, and must not wait for a ranking.
        """
        if name not in READINGS:
            raise ValueError(f"{name} is not among the readings; declare it in READINGS first")
        self._reads.setdefault(name, {})[source] = read

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Read everything now."""
        for name, reading in READINGS.items():
            kind = CounterMetricFamily if reading.counted else GaugeMetricFamily
            family = kind(name, reading.says, labels=reading.labels)
            for read in self._reads.get(name, {}).values():
                value = read()
                values = value if isinstance(value, Mapping) else {(): value}
                for labels, number in values.items():
                    family.add_metric(labels, number)
            yield family
