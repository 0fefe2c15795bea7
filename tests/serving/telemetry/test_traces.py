"""Spans of real calls, in memory and at a real collector."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from recsys.errors import ConfigError
from serving.client import RankingClient, ServiceError
from serving.config import ServerConfig
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.telemetry.tracing import tracing_to

pytest.importorskip("opentelemetry.sdk", reason="traces need the extra: pip install 'recsys[otel]'")

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Collector:
    """Takes spans over OTLP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's name
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        for resource in request.resource_spans:
            self.services |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return ExportTraceServiceResponse()

    def named(self, name: str) -> Any:
        (span,) = [span for span in self.spans if span.name == name]
        return span


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import add_TraceServiceServicer_to_server

    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_collector_gets_a_span_a_call_that_goes_on_from_the_caller_with_its_stages(
    serve: Any, length_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.telemetry.traces._FAREWELL_S", 20.0)
    message = pb.RankRequest(request_id="canary", user_id="canary", candidates=[pb.Candidate(item_id="canary")])
    with collecting() as (collector, endpoint):
        config = ServerConfig(registry=Path("unused"), port=0, threads=1, otlp_endpoint=endpoint)
        with serve(length_model.LengthModel(), config) as running:
            with grpc.insecure_channel(running.address) as channel:
                metadata = (("traceparent", PARENT), ("canary-bin", b"canary"))
                pb_grpc.RankingServiceStub(channel).Rank(message, timeout=10, metadata=metadata)
            with RankingClient(running.address) as client, pytest.raises(ServiceError):
                client.explain("canary", ["canary"], surface="broken")

    rank, failed = [span for span in collector.spans if span.name == "recsys.v1.RankingService/Rank"]
    assert collector.services == {"recsys"}
    assert (rank.trace_id.hex(), rank.parent_span_id.hex()) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert (
        attributes(rank).items()
        >= {
            "rpc.system.name": "grpc",
            "rpc.status_code": "OK",
            "recsys.request_id": running.servicer.pseudonyms.of("canary"),
            "recsys.bundle_id": "20260102T030405Z-0123abcd",
            "recsys.candidates": 1,
        }.items()
    )
    stages = [collector.named(name) for name in ("queue", "trees", "wire")]
    assert {stage.parent_span_id for stage in stages} == {rank.span_id}
    trees = collector.named("trees")
    assert (trees.end_time_unix_nano - trees.start_time_unix_nano) / 1e9 == pytest.approx(0.25)
    assert failed.trace_id != rank.trace_id
    assert attributes(failed)["error.type"] == "INTERNAL"
    assert (rank.status.code, failed.status.code) == (0, 2)
    assert "canary" not in str(collector.spans)


def in_memory() -> tuple[Any, Any]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from serving.telemetry.traces import Traces

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider), exporter


@pytest.mark.parametrize("header", ["", "garbage", "00-" + "0" * 32 + "-b7ad6b7169203331-01", PARENT + "-\udcff"])
def test_a_parent_that_is_none_begins_a_new_trace(header: str) -> None:
    traces, exporter = in_memory()
    with traces.call("service/Rank", {"traceparent": header}) as ended:
        ended("OK")

    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_a_caller_that_does_not_want_a_trace_gets_none() -> None:
    traces, exporter = in_memory()
    for header in (NOT_SAMPLED, PARENT):
        with traces.call("service/Rank", {"traceparent": header}) as ended:
            ended("OK")

    assert len(exporter.get_finished_spans()) == 1  # the control: of the caller that does


def test_the_log_lines_of_a_call_name_its_trace() -> None:
    from structlog.contextvars import get_contextvars

    traces, _ = in_memory()
    with traces.call("service/Rank", {"traceparent": PARENT}):
        assert get_contextvars()["trace_id"] == PARENT.split("-")[1]
    assert "trace_id" not in get_contextvars()


def test_a_collector_that_is_away_keeps_nobody_waiting(serve: Any, length_model: Any) -> None:
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, otlp_endpoint="http://127.0.0.1:1")
    with capture_logs() as lines:
        with serve(length_model.LengthModel(), config) as running, RankingClient(running.address) as client:
            assert client.rank("u", ["a"]).items
            began = time.monotonic()
        assert time.monotonic() - began < 8

    assert {line["log_level"] for line in lines} <= {"info", "warning"}


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "serving.telemetry.traces", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ConfigError, match=r"pip install 'recsys\[otel\]'"):
        tracing_to("http://127.0.0.1:4317")


def test_without_an_endpoint_the_extra_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    assert tracing_to("") is None


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4317", "localhost", "ftp://localhost:4317", "http://"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:4317"):
        tracing_to(endpoint)
