"""Spans of calls, continued from whoever called, and of the stages of rankings; needs the extra ``otel``."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from recsys.schema import Ranking
from serving.telemetry.recent import FAILED

_EXPORT_S, _FAREWELL_S = 2.0, 0.5

_log = structlog.get_logger()


class Traces:
    """Follows calls by ``provider``; which ones are kept is up to its sampler, and to the caller's decision."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("recsys", version("recsys"))
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str) -> Traces:
        """Send spans to an OTLP collector, as http://host:4317, in the background.

        The rest is said by OpenTelemetry's own variables, such as OTEL_TRACES_SAMPLER and OTEL_SERVICE_NAME.
        """
        named = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "recsys")})
        provider = TracerProvider(resource=named, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_S)))
        _tell_our_log()
        return cls(provider)

    @contextmanager
    def call(self, method: str, metadata: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
        """Follow one call: its trace is the one that the metadata's ``traceparent`` names, or a new one."""
        context = self._propagator.extract(metadata)
        attributes = {"rpc.system.name": "grpc", "rpc.method": method}
        with self._tracer.start_as_current_span(
            method, context, SpanKind.SERVER, attributes, record_exception=False, set_status_on_exception=False
        ) as span:

            def ended(code: str) -> None:
                span.set_attribute("rpc.status_code", code)
                if code in FAILED:
                    span.set_attribute("error.type", code)
                    span.set_status(StatusCode.ERROR)

            with bound_contextvars(trace_id=trace.format_trace_id(span.get_span_context().trace_id)):
                yield ended

    def stages(self, ranking: Ranking, stages: Mapping[str, float], *, candidates: int) -> None:
        """Show the stages of a ranking that has just been answered as spans of their own, ending now."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        span.set_attribute("recsys.request_id", ranking.request_id)
        span.set_attribute("recsys.bundle_id", ranking.bundle_id)
        span.set_attribute("recsys.candidates", candidates)
        span.set_attribute("recsys.degraded", list(ranking.degraded))
        began = time.time_ns() - round(sum(stages.values()) * 1e9)
        for stage, seconds in stages.items():
            each = self._tracer.start_span(stage, start_time=began)
            began += round(seconds * 1e9)
            each.end(end_time=began)

    def close(self) -> None:
        """Send what is left, but do not wait long for a collector that is away."""
        # Its own shutdown waits for up to half a minute, which a stopping server has not got.
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(_FAREWELL_S)


class _ToOurLog(logging.Handler):
    """Lines of the library in the form of all others."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("traces", says=record.getMessage())


def _tell_our_log() -> None:
    theirs = logging.getLogger("opentelemetry")
    theirs.propagate = False
    theirs.handlers = [_ToOurLog(logging.WARNING)]
