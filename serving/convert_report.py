"""Reports of a server to wire messages, and back."""

from __future__ import annotations

from recsys.gpu import GpuState
from serving.convert_swaps import swaps_from_wire, swaps_to_wire
from serving.pb import ranking_pb2 as pb
from serving.report import ServerReport, Store
from serving.telemetry.recent import RecentCalls

_STORES: dict[Store, pb.StoreState] = {
    Store.OWN: pb.STORE_STATE_OWN,
    Store.UP_TO_DATE: pb.STORE_STATE_UP_TO_DATE,
    Store.BEHIND: pb.STORE_STATE_BEHIND,
    Store.AWAY: pb.STORE_STATE_AWAY,
}
_GPUS: dict[GpuState, pb.GpuState] = {
    GpuState.NONE: pb.GPU_STATE_NONE,
    GpuState.USED: pb.GPU_STATE_USED,
    GpuState.RESTING: pb.GPU_STATE_RESTING,
    GpuState.LOST: pb.GPU_STATE_LOST,
}
_GPUS_NAMED = {number: state for state, number in _GPUS.items()}
_NAMED = {number: store for store, number in _STORES.items()}


def report_to_wire(report: ServerReport) -> pb.GetStatusResponse:
    """Write a report."""
    message = pb.GetStatusResponse(
        bundle_id=report.bundle_id,
        created_us=report.created_us,
        code_version=report.code_version,
        current_bundle_id=report.current_bundle_id,
        uptime_seconds=report.uptime_s,
        load_seconds=report.load_s,
        state_versions=report.state_versions,
        state_age_seconds=report.state_age_s,
        event_log_sequence=report.event_log_sequence,
        store=_STORES[report.store],
        in_flight=report.in_flight,
        queue_length=report.queue_length,
        methods=[
            pb.MethodStatus(
                method=each.method,
                calls=each.calls,
                failed=each.failed,
                refused=each.refused,
                p50_seconds=each.p50_s,
                p99_seconds=each.p99_s,
            )
            for each in report.methods
        ],
        degraded=report.degraded,
        pending_texts=report.pending_texts,
        memory_bytes=report.memory_bytes,
        gpu=_GPUS[report.gpu],
        gpu_faults=report.gpu_faults,
        shed=report.shed,
        in_flight_limit=report.in_flight_limit,
    )
    swaps_to_wire(report.swaps, message)
    return message


def report_from_wire(message: pb.GetStatusResponse) -> ServerReport:
    """Read a report."""
    return ServerReport(
        bundle_id=message.bundle_id,
        created_us=message.created_us,
        code_version=message.code_version,
        current_bundle_id=message.current_bundle_id,
        uptime_s=message.uptime_seconds,
        load_s=message.load_seconds,
        state_versions=dict(message.state_versions),
        state_age_s=message.state_age_seconds,
        event_log_sequence=message.event_log_sequence,
        store=_NAMED[message.store],
        in_flight=message.in_flight,
        queue_length=message.queue_length,
        methods=tuple(
            RecentCalls(
                method=each.method,
                calls=each.calls,
                failed=each.failed,
                refused=each.refused,
                p50_s=each.p50_seconds,
                p99_s=each.p99_seconds,
            )
            for each in message.methods
        ),
        degraded=dict(message.degraded),
        pending_texts=message.pending_texts,
        memory_bytes=message.memory_bytes,
        gpu=_GPUS_NAMED.get(message.gpu, GpuState.NONE),  # a server that does not say has none
        gpu_faults=message.gpu_faults,
        shed=dict(message.shed),
        in_flight_limit=message.in_flight_limit,
        swaps=swaps_from_wire(message),
    )
