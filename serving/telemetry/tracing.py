"""Whether calls are followed through several services, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol
from urllib.parse import urlsplit

from recsys.errors import ConfigError
from recsys.schema import Ranking


class Tracing(Protocol):
    """What follows calls through several services."""

    def call(self, method: str, metadata: Mapping[str, str]) -> AbstractContextManager[Callable[[str], None]]:
        """Follow one call; the block is given what it has to tell its code to."""
        ...

    def stages(self, ranking: Ranking, stages: Mapping[str, float], *, candidates: int) -> None:
        """Show the stages of a ranking that has just been answered, in their order, seconds each."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


def tracing_to(endpoint: str) -> Tracing | None:
    """Follow calls and tell an OTLP collector; None where no endpoint is given.

    Raises:
        ConfigError: OpenTelemetry is not installed, or the endpoint is no address.
    """
    if not endpoint:
        return None
    try:
        from serving.telemetry.traces import Traces  # noqa: PLC0415 - the extra may be absent, and takes time to load
    except ImportError as error:
        raise ConfigError(
            f"traces cannot be sent to {endpoint}: {error.name} is not installed; run `pip install 'recsys[otel]'`, "
            "or leave RECSYS_OTLP_ENDPOINT out"
        ) from error
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{endpoint!r} is no OTLP endpoint; give one such as http://127.0.0.1:4317")
    return Traces.to(endpoint)
