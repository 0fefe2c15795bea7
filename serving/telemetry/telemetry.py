"""Everything that watches one server, in one place; the server's parts are given what they report to."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector

from serving.config import ServerConfig
from serving.model import Model
from serving.telemetry.answers import Answers
from serving.telemetry.calls import Calls
from serving.telemetry.drift_watch import DriftWatch
from serving.telemetry.intake import EventsWatched
from serving.telemetry.metrics import Metrics
from serving.telemetry.page import MetricsPage
from serving.telemetry.readings import Readings
from serving.telemetry.slow import SlowLog
from serving.telemetry.swaps import SwapsWatched
from serving.telemetry.tracing import tracing_to


class Telemetry:
    """Metrics, drift, slow log and traces of one server.

    ``calls`` watches calls, ``events`` what comes in; ``ranked`` is told each ranking, where it ``traces`` before the
    call ends; ``sampler`` is given tables.
    Whatever else has a figure to show gives ``follow`` a function; whoever works in batches observes their sizes in
    ``metrics.batch_size``, bound once to a name of its own.
    """

    def __init__(self, config: ServerConfig) -> None:
        """Set up; nothing listens yet.

        Raises:
            ConfigError: traces are asked for, and cannot be sent.
        """
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self._readings = Readings()
        self.registry.register(self._readings)
        ProcessCollector(registry=self.registry)
        self._tracing = tracing_to(config.otlp_endpoint)
        self.traces = self._tracing is not None
        self.calls = Calls(self.metrics, self._tracing)
        self.events = EventsWatched(self.metrics)
        self.ranked = Answers(self.metrics, SlowLog(config.slow_ms / 1e3), self._tracing).ranked
        self.follow = self._readings.follow
        self.swaps = SwapsWatched(self.metrics, self.follow)
        self.sampler: DriftWatch | None = None
        self.metrics_address = ""
        self._config = config
        self._page: MetricsPage | None = None
        self.follow("recsys_calls_in_flight", self.calls.in_flight)

    def open(self) -> None:
        """Serve the metrics, where a port is given for them.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        if self._config.metrics_port is not None:
            self._page = MetricsPage(self.registry, host=self._config.metrics_host, port=self._config.metrics_port)
            self.metrics_address = self._page.address

    def sample(self, model: Model) -> None:
        """Measure from now on how the features of a model's rankings drift; another model begins anew."""
        share, reference = self._config.drift, self._config.drift_reference
        if not share:
            return
        columns, strongest = model.manifest.ranker_columns, model.strongest_features
        watch = DriftWatch(columns, strongest, share, reference=reference, bundle_id=model.bundle_id)
        self.follow("recsys_feature_drift", watch.indices)
        self.follow("recsys_drift_reference_lists", watch.reference_lists)
        self.follow("recsys_drift_window_lists", watch.window_lists)
        self.follow("recsys_drift_dropped_total", lambda: watch.dropped)
        former, self.sampler = self.sampler, watch
        if former is not None:
            former.close()

    def close(self) -> None:
        """Stop watching, and send what is left to send."""
        if self._page is not None:
            self._page.close()
        if self.sampler is not None:
            self.sampler.close()
        if self._tracing is not None:
            self._tracing.close()
