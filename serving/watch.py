"""Shows telemetry where the figures of the server's parts are to be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recsys.bundle import Manifest
from recsys.events import Logged
from recsys.gpu import GPU, Gpu
from serving.admission import Admission
from serving.bundles import Bundles
from serving.event_log import EventLog
from serving.event_writer import Committed, EventWriter
from serving.model import Model, describe
from serving.receipt_writer import ReceiptWriter
from serving.telemetry.state_age import StateAge
from serving.telemetry.telemetry import Telemetry


def watch_admission(telemetry: Telemetry, admission: Admission) -> None:
    """Show what is refused because there is too much, how busy threads are, and how much may be in flight."""
    telemetry.follow("recsys_shed_total", admission.refusals.by_reason)
    telemetry.follow("recsys_threads", lambda: admission.threads)
    telemetry.follow("recsys_thread_seconds_total", lambda: admission.ranked_s)
    if (limit := admission.limit) is not None:
        telemetry.follow("recsys_in_flight_limit", lambda: limit.value)


def watch_model(telemetry: Telemetry, model: Model, *, load_s: float) -> None:
    """Show a model that answers from now on; a former one's figures are gone."""
    info = describe(model)
    created = model.manifest.created.isoformat() if isinstance(model.manifest, Manifest) else ""
    follow = telemetry.follow
    follow("recsys_bundle_info", lambda: {(info.bundle_id, created, info.code_version): 1.0})
    follow("recsys_bundle_created_timestamp_seconds", lambda: info.created_us / 1e6)
    follow("recsys_model_load_seconds", lambda: load_s)
    follow("recsys_pending_texts", lambda: model.pending_texts)
    follow("recsys_cache_hits_total", lambda: {("vectors",): model.text_lookups()[0]}, source="vectors")
    follow("recsys_cache_misses_total", lambda: {("vectors",): model.text_lookups()[1]}, source="vectors")
    watch_gpu(telemetry, GPU)
    telemetry.sample(model)


def watch_gpu(telemetry: Telemetry, gpu: Gpu) -> None:
    """Show whether this process computes on a GPU, and how often it could not."""
    telemetry.follow("recsys_gpu_state", lambda: {(gpu.state.value,): 1.0})
    telemetry.follow("recsys_gpu_faults_total", lambda: {(fault,): times for fault, times in gpu.faults.items()})
    telemetry.follow("recsys_gpu_missed_total", lambda: gpu.instead)


def watch_bundles(telemetry: Telemetry, bundles: Bundles) -> None:
    """Show which bundles are in memory."""
    telemetry.follow(
        "recsys_bundles_loaded",
        lambda: {(name, role): 1.0 for name, roles in bundles.roles().items() for role in roles},
    )


def watch_state(telemetry: Telemetry, bundles: Bundles, log: EventLog | None) -> Committed:
    """Show how old the state is that rankings know; returns what to tell the commits of the event log."""
    newest_us = max(bundles.model.manifest.window.last_ts, log.newest_us if log is not None else 0)
    age = StateAge(lambda: bundles.model.state_versions, newest_us)
    telemetry.follow("recsys_state_age_seconds", age.look)
    if log is not None:
        telemetry.follow("recsys_event_log_sequence", lambda: log.sequence)
        telemetry.follow(
            "recsys_state_behind_events", lambda: max(0, log.sequence - bundles.model.state_versions.get(log.name, 0))
        )

    def committed(events: int, commit_s: float, learn_s: float) -> None:
        telemetry.events.committed(events, commit_s, learn_s)
        age.look()

    return committed


def watch_writer(telemetry: Telemetry, writer: EventWriter) -> None:
    """Show how much waits to be written."""
    telemetry.follow("recsys_events_waiting", lambda: writer.waiting)


def watch_store(telemetry: Telemetry, learn: Callable[[Sequence[Logged]], None]) -> None:
    """Show how the shared store keeps up, where it is what learns."""
    from serving.shared_learning import SharedLearning  # noqa: PLC0415 - it loads the model libraries

    if not isinstance(learn, SharedLearning):
        return
    learning = learn
    telemetry.follow("recsys_store_behind", lambda: learning.behind)
    telemetry.follow("recsys_store_away", lambda: learning.away)
    telemetry.follow(
        "recsys_store_missed_total", lambda: {(reason,): times for reason, times in list(learning.missed.items())}
    )


def watch_receipts(telemetry: Telemetry, receipts: ReceiptWriter) -> None:
    """Show how many receipts are written, and how many could not be."""
    telemetry.follow("recsys_receipts_written_total", lambda: receipts.written)
    telemetry.follow("recsys_receipts_dropped_total", lambda: receipts.dropped)
