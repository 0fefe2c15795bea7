"""The metrics over HTTP, for Prometheus to come and fetch."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from recsys.errors import ConfigError


class MetricsPage:
    """Serves a registry at ``/metrics`` from a thread of its own; ``address`` says where. Close it."""

    def __init__(self, registry: CollectorRegistry, *, host: str, port: int) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise ConfigError(
                f"the metrics cannot be served on {host}:{port} ({error.strerror}); free the port, or choose another "
                "metrics_host or metrics_port"
            ) from error
        name = f"[{host}]" if ":" in host else host
        self.address = f"{name}:{self._server.server_port}"

    def close(self) -> None:
        """Stop, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
