"""What an operator is told, and that nobody else is."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio

from recsys.errors import ConfigError, InvalidRequest
from recsys.events import Interaction
from recsys.gpu import Gpu, GpuState
from serving.access.door import open_door
from serving.access.settings import AccessSettings
from serving.admin import AdminPort, AdminServicer
from serving.admin_client import AdminClient
from serving.bundles import Bundles
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.convert_report import report_from_wire, report_to_wire
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.report import Reporter, ServerReport, Store
from serving.shadow import ShadowReport
from serving.swap_report import LoadedReport, Swapped, SwapReport
from serving.telemetry.recent import RecentCalls
from serving.telemetry.telemetry import Telemetry
from serving.variants import Variant
from serving.watch import watch_gpu

REPORT = ServerReport(
    bundle_id="b-2",
    created_us=2,
    code_version="0.1.0",
    current_bundle_id="b-3",
    uptime_s=90_000.0,
    load_s=3.5,
    state_versions={"log": 7},
    state_age_s=4.0,
    event_log_sequence=9,
    store=Store.BEHIND,
    in_flight=3,
    queue_length=2,
    methods=(RecentCalls(method="Rank", calls=10, failed=1, refused=2, p50_s=0.01, p99_s=0.5),),
    degraded={"no_state": 5},
    pending_texts=6,
    memory_bytes=1 << 30,
    gpu=GpuState.LOST,
    gpu_faults=4,
    shed={"queue": 3, "quota": 2},
    in_flight_limit=66,
    swaps=SwapReport(
        loaded=(
            LoadedReport(
                bundle_id="b-2", roles=("serving", "variant a"), in_flight=1, rankings=10, failed=2, load_s=1.5
            ),
        ),
        variants=(Variant(name="a", bundle_id="b-2", share=0.25),),
        shadow=ShadowReport(
            bundle_id="b-1",
            share=0.5,
            ranked=4,
            dropped=3,
            failed=2,
            top_overlap=0.75,
            kendall_tau=-0.5,
            p50_s=0.01,
            answer_p50_s=0.02,
        ),
        last_swap=Swapped(bundle_id="b-2", from_bundle_id="b-1", time_us=5, seconds=2.5, reason="promoted"),
        last_refusal=Swapped(bundle_id="b-3", from_bundle_id="b-2", time_us=6, seconds=0.5, reason="golden requests"),
        preparing="b-4",
        before="b-1",
    ),
)


def test_a_server_tells_how_it_is_doing(watched: Any) -> None:
    with RankingClient(watched.address) as client, AdminClient(watched.admin) as admin:
        client.rank("u", ["a", "bb"])
        with pytest.raises(InvalidRequest):
            client.explain("u", ["a"], reasons=-1)
        client.record([Interaction(event_id="e", user_id="u", item_id="a", type="cart", ts=time.time_ns() // 1_000)])
        end = time.monotonic() + 10  # a refusal reaches the caller just before it is counted
        report = admin.status()
        while not any(method.refused for method in report.methods):
            assert time.monotonic() < end
            report = admin.status()

    assert (report.bundle_id, report.created_us) == ("20260102T030405Z-0123abcd", 1_767_323_045_000_000)
    assert (report.current_bundle_id, report.swaps.before) == ("", "")
    assert (report.event_log_sequence, report.store, report.degraded) == (1, Store.OWN, {})
    assert (report.in_flight, report.queue_length, report.pending_texts) == (1, 0, 0)
    assert report.uptime_s > report.load_s > 0
    assert report.memory_bytes > 1 << 20
    rank = next(method for method in report.methods if method.method == "Rank")
    assert (rank.calls, rank.failed, rank.refused) == (2, 0, 1)
    assert 0 < rank.p50_s <= rank.p99_s < 5


def test_a_report_goes_over_the_wire_whole() -> None:
    assert report_from_wire(report_to_wire(REPORT)) == REPORT


def test_a_gpu_that_fails_shows_in_the_report(tmp_path: Path) -> None:
    telemetry, gpu = Telemetry(ServerConfig(registry=tmp_path)), Gpu()
    reporter = Reporter(telemetry, tmp_path, Bundles())
    assert (reporter.report().gpu, reporter.report().gpu_faults) == (GpuState.NONE, 0)

    watch_gpu(telemetry, gpu)
    gpu.use()
    assert reporter.report().gpu is GpuState.USED

    def fails() -> str:
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h")

    assert gpu.answer(fails, cpu=lambda: "answered") == "answered"
    assert (reporter.report().gpu, reporter.report().gpu_faults) == (GpuState.LOST, 1)
    assert telemetry.registry.get_sample_value("recsys_gpu_missed_total") == 1


def test_operators_are_on_this_machine_and_not_on_the_port_for_everybody(watched: Any) -> None:
    assert watched.admin.startswith("127.0.0.1:")
    with grpc.insecure_channel(watched.address) as channel, pytest.raises(grpc.RpcError) as caught:
        pb_grpc.AdminServiceStub(channel).GetStatus(pb.GetStatusRequest(), timeout=10)
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


async def _asked(serve: Callable[[], Any]) -> tuple[StatusCode, str]:
    """Ask for the status where the report cannot be made."""
    address, close = await serve()
    async with aio.insecure_channel(address) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await pb_grpc.AdminServiceStub(channel).GetStatus(pb.GetStatusRequest(), timeout=10)
    await close()
    return caught.value.code(), str(caught.value.details())


def _broken() -> ServerReport:
    raise KeyError("the secret of user-7")


def test_a_fault_is_told_to_no_operator_either() -> None:
    async def guarded() -> Any:
        port = AdminPort(AdminServicer(_broken), Telemetry(ServerConfig(registry=Path("unused"))).calls)
        await port.open(0, open_door(AccessSettings()))
        return port.address, port.close

    assert asyncio.run(_asked(guarded)) == (StatusCode.INTERNAL, "internal error")


def test_without_the_guard_it_would_be() -> None:
    """The control of the test above."""

    async def bare() -> Any:
        server = aio.server()
        pb_grpc.add_AdminServiceServicer_to_server(AdminServicer(_broken), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return f"127.0.0.1:{port}", lambda: server.stop(None)

    assert "user-7" in asyncio.run(_asked(bare))[1]


def test_a_port_that_is_taken_is_named(serve: Any, length_model: Any, config: ServerConfig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=rf"127.0.0.1:{port}.*admin_port"),
            serve(length_model.LengthModel(), config.model_copy(update={"admin_port": port})),
        ):
            pass
    with serve(length_model.LengthModel(), config) as running:  # its directory and its ports are free again
        assert running.admin
