"""What is told of the bundles of a server, and what operators ask of them, to wire messages and back."""

from __future__ import annotations

from serving.pb import ranking_pb2 as pb
from serving.shadow import ShadowReport
from serving.swap_report import LoadedReport, Swapped, SwapReport
from serving.variants import Variant, Variants


def swaps_to_wire(report: SwapReport, message: pb.GetStatusResponse) -> None:
    """Write a report into that of the whole server."""
    for loaded in report.loaded:
        message.bundles.add(
            bundle_id=loaded.bundle_id,
            roles=loaded.roles,
            in_flight=loaded.in_flight,
            rankings=loaded.rankings,
            failed=loaded.failed,
            load_seconds=loaded.load_s,
        )
    message.variants.extend(_variant_to_wire(each) for each in report.variants)
    if (shadow := report.shadow) is not None:
        message.shadow.CopyFrom(
            pb.ShadowStatus(
                bundle_id=shadow.bundle_id,
                share=shadow.share,
                ranked=shadow.ranked,
                dropped=shadow.dropped,
                failed=shadow.failed,
                top_overlap=shadow.top_overlap,
                kendall_tau=shadow.kendall_tau,
                p50_seconds=shadow.p50_s,
                answer_p50_seconds=shadow.answer_p50_s,
            )
        )
    if report.last_swap is not None:
        message.last_swap.CopyFrom(_swapped_to_wire(report.last_swap))
    if report.last_refusal is not None:
        message.last_refusal.CopyFrom(_swapped_to_wire(report.last_refusal))
    message.preparing_bundle_id = report.preparing
    message.previous_bundle_id = report.before


def swaps_from_wire(message: pb.GetStatusResponse) -> SwapReport:
    """Read a report."""
    return SwapReport(
        loaded=tuple(
            LoadedReport(
                bundle_id=each.bundle_id,
                roles=tuple(each.roles),
                in_flight=each.in_flight,
                rankings=each.rankings,
                failed=each.failed,
                load_s=each.load_seconds,
            )
            for each in message.bundles
        ),
        variants=tuple(map(_variant_from_wire, message.variants)),
        shadow=_shadow_from_wire(message.shadow) if message.HasField("shadow") else None,
        last_swap=_swapped_from_wire(message.last_swap) if message.HasField("last_swap") else None,
        last_refusal=_swapped_from_wire(message.last_refusal) if message.HasField("last_refusal") else None,
        preparing=message.preparing_bundle_id,
        before=message.previous_bundle_id,
    )


def variants_to_wire(variants: Variants) -> pb.SetVariantsRequest:
    """Write what users are to be divided into."""
    return pb.SetVariantsRequest(variants=map(_variant_to_wire, variants.variants), salt=variants.salt)


def variants_from_wire(message: pb.SetVariantsRequest) -> Variants:
    """Read what users are to be divided into.

    Raises:
        InvalidRequest: a field is outside the limits that ranking.proto documents.
    """
    return Variants(variants=tuple(map(_variant_from_wire, message.variants)), salt=message.salt)


def _variant_to_wire(variant: Variant) -> pb.Variant:
    return pb.Variant(name=variant.name, bundle_id=variant.bundle_id, share=variant.share)


def _variant_from_wire(message: pb.Variant) -> Variant:
    return Variant(name=message.name, bundle_id=message.bundle_id, share=message.share)


def _shadow_from_wire(message: pb.ShadowStatus) -> ShadowReport:
    return ShadowReport(
        bundle_id=message.bundle_id,
        share=message.share,
        ranked=message.ranked,
        dropped=message.dropped,
        failed=message.failed,
        top_overlap=message.top_overlap,
        kendall_tau=message.kendall_tau,
        p50_s=message.p50_seconds,
        answer_p50_s=message.answer_p50_seconds,
    )


def _swapped_to_wire(swapped: Swapped) -> pb.SwapStatus:
    return pb.SwapStatus(
        bundle_id=swapped.bundle_id,
        from_bundle_id=swapped.from_bundle_id,
        time_us=swapped.time_us,
        seconds=swapped.seconds,
        reason=swapped.reason,
    )


def _swapped_from_wire(message: pb.SwapStatus) -> Swapped:
    return Swapped(
        bundle_id=message.bundle_id,
        from_bundle_id=message.from_bundle_id,
        time_us=message.time_us,
        seconds=message.seconds,
        reason=message.reason,
    )
