"""What a running server's metrics say after real calls."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from recsys.errors import ConfigError, InvalidRequest
from recsys.events import Impression, Interaction
from recsys.schema import Ranking, Rung, RungReason
from serving.client import RankingClient, ServiceError
from serving.config import ServerConfig
from serving.interceptors import Interceptors
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.telemetry.calls import CallsInterceptor
from serving.telemetry.telemetry import Telemetry

NOW_US = time.time_ns() // 1_000


@pytest.fixture
def client(watched: Any) -> Any:
    with RankingClient(watched.address, deadline_s=10) as client:
        yield client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_calls_are_counted_by_method_and_code(client: RankingClient, watched: Any, figure: Any) -> None:
    client.rank("u", ["a", "bb"])
    client.rank("u", ["a"])
    with pytest.raises(InvalidRequest):
        client.explain("u", ["a"], reasons=-1)
    with pytest.raises(ServiceError):
        client.rank("u", ["a"], surface="broken")
    with grpc.insecure_channel(watched.address) as hasty:
        grpc.channel_ready_future(hasty).result(10)  # or the time may be over before the server hears of the call
        slow = pb.RankRequest(user_id="u", candidates=[pb.Candidate(item_id="a")], surface="slow", query="0.5")
        with pytest.raises(grpc.RpcError):
            pb_grpc.RankingServiceStub(hasty).Rank(slow, timeout=0.2)
    client.model_info()

    def calls(method: str, code: str) -> float:
        return float(figure("recsys_calls_total", method=method, code=code))

    for code, times in (("INVALID_ARGUMENT", 1), ("INTERNAL", 1), ("OK", 2)):
        wait_until(lambda code=code, times=times: calls("Rank", code) == times)
    # Whichever clock is ahead.
    wait_until(lambda: calls("Rank", "DEADLINE_EXCEEDED") + calls("Rank", "CANCELLED") == 1)
    assert (calls("GetModelInfo", "OK"), calls("GetModelInfo", "INTERNAL")) == (1, 0)
    assert figure("recsys_call_seconds_count", method="Rank") == 5


def test_calls_of_other_services_are_not_counted(watched: Any, read_page: Callable[[str], str]) -> None:
    with grpc.insecure_channel(watched.address) as channel:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    assert 'method="Check"' not in read_page(watched.metrics)


def test_a_stream_of_events_is_one_call(client: RankingClient, figure: Any) -> None:
    client.stream(
        [Interaction(event_id=f"e-{n}", user_id="u", item_id="a", type="cart", ts=NOW_US) for n in range(5)], chunk=2
    )

    assert figure("recsys_calls_total", method="StreamEvents", code="OK") == 1
    assert figure("recsys_events_total", outcome="accepted") == 5


def test_an_error_that_nobody_has_translated_is_counted_as_what_grpc_makes_of_it() -> None:
    telemetry = Telemetry(ServerConfig(registry=Path("unused")))

    async def ask() -> StatusCode:
        async def broken(_data: bytes, _context: Any) -> bytes:
            raise KeyError("user-7")

        server = aio.server(interceptors=[Interceptors(CallsInterceptor(telemetry.calls, "plain"))])
        handler = grpc.unary_unary_rpc_method_handler(broken)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plain", {"Rank": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await channel.unary_unary("/plain/Rank")(b"")
        await server.stop(None)
        return caught.value.code()

    assert asyncio.run(ask()) is StatusCode.UNKNOWN
    labels = {"method": "Rank", "code": "UNKNOWN"}
    assert telemetry.registry.get_sample_value("recsys_calls_total", labels) == 1


def test_latency_has_buckets_from_half_a_millisecond_to_two_seconds(client: RankingClient, figure: Any) -> None:
    client.rank("u", ["a"], surface="slow", query="0.03")

    def below(le: str) -> float:
        return float(figure("recsys_call_seconds_bucket", method="Rank", le=le))

    assert (below("0.0005"), below("0.025"), below("2.0")) == (0, 0, 1)
    assert figure("recsys_call_seconds_sum", method="Rank") > 0.03


def test_a_ranking_tells_its_stages_and_the_rest_is_wire(client: RankingClient, figure: Any) -> None:
    client.rank("u", ["a"])

    assert figure("recsys_stage_seconds_sum", stage="trees") == 0.25
    assert [figure("recsys_stage_seconds_count", stage=stage) for stage in ("queue", "wire")] == [1, 1]
    assert figure("recsys_rank_seconds_count", rung="full") == 1


def test_what_a_ranking_knew_and_did_not_know_is_counted(client: RankingClient, figure: Any) -> None:
    client.rank("u", ["a", "new-1", "new-2"])
    client.rank("", ["a", "bb"])

    assert (figure("recsys_candidates_sum"), figure("recsys_candidates_count")) == (5, 2)
    assert (figure("recsys_unknown_items_total"), figure("recsys_unknown_users_total")) == (2, 1)
    assert (figure("recsys_text_coverage_ratio_sum"), figure("recsys_items_without_text_total")) == (2, 0)


def test_the_first_items_score_and_probability_are_distributions(client: RankingClient, figure: Any) -> None:
    client.rank("u", ["a", "bbb"])
    client.rank("u", [])

    assert [figure("recsys_top_score_bucket", le=le) for le in ("2.0", "4.0", "+Inf")] == [0, 1, 1]
    assert figure("recsys_click_probability_ratio_sum") == 0.25


def test_degraded_answers_are_counted_by_reason_and_steps_down_by_rung_and_reason() -> None:
    telemetry = Telemetry(ServerConfig(registry=Path("unused")))
    ranking = Ranking(request_id="r", bundle_id="b", items=(), text_coverage=1.0)
    for without in (
        {},
        {"degraded": ("no_state",)},
        {"degraded": ("no_state", "no_text"), "rung": Rung.BEHAVIOUR, "rung_reason": RungReason.DEADLINE},
        {"rung": Rung.BEHAVIOUR, "rung_reason": RungReason.FAULT},
    ):
        telemetry.ranked(replace(ranking, **without), request_id="r", candidates=0, seconds=0.01)

    def value(name: str, **labels: str) -> float | None:
        return telemetry.registry.get_sample_value(name, labels)

    assert value("recsys_degraded_answers_total", reason="no_state") == 2
    assert value("recsys_degraded_answers_total", reason="no_text") == 1
    assert [value("recsys_rank_seconds_count", rung=rung) for rung in Rung] == [2, 0, 0, 2, 0]
    assert value("recsys_steps_down_total", rung="behaviour", reason="deadline") == 1
    assert value("recsys_steps_down_total", rung="behaviour", reason="fault") == 1
    assert value("recsys_steps_down_total", rung="full", reason="load") is None


def test_calls_in_flight_and_those_that_wait_for_a_thread_are_told(
    client: RankingClient, watched: Any, figure: Any
) -> None:
    with ThreadPoolExecutor(3) as threads:
        held = [threads.submit(client.rank, "u", ["a"], surface="held") for _ in range(3)]
        wait_until(lambda: figure("recsys_calls_in_flight", method="Rank") == 3)
        assert figure("recsys_queue_length") == 2
        watched.model.release.set()
        assert [ranking.result().items[0].item_id for ranking in held] == ["a", "a", "a"]

    assert figure("recsys_calls_in_flight", method="Rank") == 0
    assert figure("recsys_queue_length") == 0


def test_events_are_counted_by_what_became_of_them(client: RankingClient, figure: Any) -> None:
    shown = Impression(event_id="e-1", request_id="r-1", user_id="u", ts=NOW_US, item_ids=("a",))
    late = Interaction(event_id="e-2", user_id="u", item_id="a", type="cart", ts=NOW_US - 10**13)
    other = Impression(event_id="e-3", request_id="r-1", user_id="u", ts=NOW_US, item_ids=("b",))
    client.record([shown, late, other])
    client.record([shown])

    outcomes = ("accepted", "duplicate", "rejected")
    assert [figure("recsys_events_total", outcome=outcome) for outcome in outcomes] == [1, 1, 2]
    reasons = ("too_late", "conflict", "malformed", "future")
    assert [figure("recsys_events_rejected_total", reason=reason) for reason in reasons] == [1, 1, 0, 0]
    assert (figure("recsys_event_commit_seconds_count"), figure("recsys_event_learn_seconds_count")) == (2, 2)
    assert (figure("recsys_batch_size_sum", batch="event_commit"), figure("recsys_event_log_sequence")) == (4, 1)
    assert (figure("recsys_events_waiting"), figure("recsys_state_behind_events")) == (0, 1)


def test_the_bundle_names_itself(figure: Any) -> None:
    labels = {"bundle_id": "20260102T030405Z-0123abcd", "created": "2026-01-02T03:04:05+00:00"}

    assert figure("recsys_bundle_info", **labels) == 1
    assert figure("recsys_bundle_created_timestamp_seconds") == 1_767_323_045
    assert figure("recsys_model_load_seconds") > 0
    assert figure("recsys_pending_texts") == 0


def test_receipts_written_and_dropped_are_counted(client: RankingClient, figure: Any) -> None:
    client.rank("u", ["a"])

    wait_until(lambda: figure("recsys_receipts_written_total") == 1)
    assert figure("recsys_receipts_dropped_total") == 0


def test_the_process_tells_its_memory_and_processor_time(figure: Any) -> None:
    assert figure("process_resident_memory_bytes") > 1 << 20
    assert figure("process_cpu_seconds_total") > 0


def test_no_id_and_no_text_is_on_the_page(client: RankingClient, watched: Any, read_page: Callable[[str], str]) -> None:
    client.rank("canary-user", ["canary-item", "new-canary"], request_id="canary-request", query="canary query")
    client.record([Interaction(event_id="canary", user_id="canary", item_id="canary", type="cart", ts=NOW_US)])
    with pytest.raises(ServiceError):
        client.rank("canary-user", ["canary-item"], surface="broken")

    # The control: the calls are there. A refusal reaches the caller just before it is counted.
    wait_until(lambda: 'recsys_calls_total{code="INTERNAL",method="Rank"} 1.0' in read_page(watched.metrics))
    assert "canary" not in read_page(watched.metrics)


def test_metrics_are_served_before_a_model_is_loaded(
    serve: Any, length_model: Any, config: ServerConfig, reader: Any
) -> None:
    """A load that takes long, or fails, is to be seen."""
    seen: list[float] = []
    port = free_port()

    class LookingModel(length_model.LengthModel):  # type: ignore[misc, name-defined] # loaded by its path
        def follow(self, log_name: str, sequence: int) -> None:
            super().follow(log_name, sequence)
            seen.append(reader(f"127.0.0.1:{port}")("recsys_bundle_info"))
            seen.append(reader(f"127.0.0.1:{port}")("process_cpu_seconds_total"))

    with serve(LookingModel(), config.model_copy(update={"metrics_port": port})) as running:
        assert reader(running.metrics)("recsys_bundle_info") == 1
    assert math.isnan(seen[0])
    assert seen[1] > 0


def test_without_a_port_nothing_is_served(running: Any) -> None:
    assert (running.metrics, running.admin) == ("", "")
    assert not [thread for thread in threading.enumerate() if "serve_forever" in thread.name]


def test_a_port_that_is_taken_is_named(watched: Any) -> None:
    port = int(watched.metrics.rpartition(":")[2])
    telemetry = Telemetry(ServerConfig(registry=Path("unused"), metrics_port=port))

    with pytest.raises(ConfigError, match=rf"127.0.0.1:{port} .*metrics_port"):
        telemetry.open()


def test_the_port_is_free_again_when_the_server_has_stopped(
    serve: Any, length_model: Any, config: ServerConfig
) -> None:
    port = free_port()
    for _ in range(2):
        with serve(length_model.LengthModel(), config.model_copy(update={"metrics_port": port})):
            pass


def test_what_is_not_declared_cannot_be_shown() -> None:
    telemetry = Telemetry(ServerConfig(registry=Path("unused")))

    with pytest.raises(ValueError, match="declare it in READINGS"):
        telemetry.follow("recsys_surprise", lambda: 1.0)
