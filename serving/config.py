"""What the server can be told, by arguments or by ``RECSYS_...`` environment variables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from recsys.crew import usable_cores
from recsys.errors import ConfigError
from serving.access.settings import AccessSettings
from serving.event_log import LATE_WINDOW_S
from serving.ladder_settings import LadderSettings
from serving.swap_settings import SwapSettings
from serving.worker_settings import WorkerSettings


def default_threads() -> int:
    """Half of the cores that this process may use: the event loop, gRPC and the callers on this machine need some too.

    On two cores, one thread answers a third more rankings than two, which wait for Python's lock by turns.
    """
    return max(1, usable_cores() // 2)


class ServerConfig(AccessSettings, SwapSettings, LadderSettings, WorkerSettings):
    """Settings of one server process; each can be given as ``RECSYS_`` plus its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="RECSYS_", use_attribute_docstrings=True, frozen=True, extra="forbid")

    registry: Path
    """The registry directory whose current bundle is served; one that is promoted later is taken while the server
    serves. Or one bundle, for ever."""

    data: Path | None = None
    """The directory where the server keeps what it is told of: events, changed items, the vectors of their texts. No
    other server may use it; made if absent. Without one, events are refused, and changed items are kept in memory only.
    `recsys serve` takes `live` in the registry where nothing else is said."""

    late_window_s: float = Field(default=LATE_WINDOW_S, ge=60, le=365 * 86_400)
    """How late an event may be told, in seconds; what happened before is refused."""

    snapshot_every_s: float = Field(default=300, gt=0, le=86_400)
    """After how many seconds what was learned is written down again, if there is news, so that a server that is killed
    has only the events since then to read again. A shared store has no snapshots."""

    store: str = ""
    """Where servers share what people did, as redis://host:port/db (Redis or Valkey; rediss:// and unix:// work too).
    Empty: each server has its own."""

    store_limit_s: float = Field(default=0.02, gt=0, le=10)
    """How long a ranking waits for the store, in seconds; without an answer it is ranked by text and attributes."""

    store_keep_days: float = Field(default=90, ge=1, le=3_650)
    """After how many days without an event the store forgets a user."""

    receipts: float = Field(default=0.01, ge=0, le=1)
    """The share of the rankings that leave a receipt in the data directory: 0 none, 1 all. Which ones follows from
    their request ids, so that a retry leaves one where the first try did."""

    most_receipts: int = Field(default=100_000, ge=1)
    """How many receipts are kept; beyond, the oldest go."""

    receipt_bytes: int = Field(default=1 << 30, ge=1 << 20)
    """How much room receipts may take; beyond, the oldest go."""

    host: str = "127.0.0.1"
    """The address to listen on. Only this machine can call unless you say more, such as 0.0.0.0 inside a container; in
    development nobody is asked who calls."""

    port: int = Field(default=50051, ge=0, le=65_535)
    """The port to listen on; 0 lets the system choose, and the log names it."""

    threads: int = Field(default_factory=default_threads, ge=1, le=256)
    """How many threads rank; what waits is ranked together, and long lists are shared with idle cores, so more threads
    are seldom faster. Where nothing is said, half of the cores, which several workers share."""

    most_waiting: int = Field(default=64, ge=1)
    """How many rankings wait for a thread at most; callers of priority prefetch may fill half of it, batch a quarter.
    What comes beyond is refused at once, as is what could not be answered before its deadline, or would make the queue
    stand."""

    sheds: bool = True
    """Refuse what cannot be answered in time. Off, everything is taken, and under too much load nothing is answered:
    for measuring what refusing is worth."""

    quotas: Path | None = None
    """A TOML file that says how many candidates a second a caller may have ranked, and which share of the server it may
    occupy."""

    default_deadline_s: float = Field(default=2.0, gt=0, le=60)
    """How long a ranking may take whose caller gives no deadline, in seconds."""

    most_deadline_s: float = Field(default=10.0, gt=0, le=600)
    """How long any ranking may take, in seconds."""

    grace_s: float = Field(default=10.0, ge=0, le=600)
    """How long a stopping server works on the requests that it has accepted, in seconds; their answers get one more
    second to leave. Keep it two seconds below the time after which your supervisor kills the process."""

    max_message_bytes: int = Field(default=1 << 20, ge=1 << 10, le=1 << 26)
    """The largest request accepted. Parsing holds the whole process, so raise it only if your requests need it."""

    reflection: bool | None = None
    """Let tools such as grpcurl ask the server for its methods, whoever they are. Where nothing is said: in development
    only."""

    log_key: Path | None = None
    """A file of at least 32 bytes, the key of the pseudonyms that stand in the log for ids that callers chose. Without
    one, each process has a key of its own, and nobody can tell which id it was."""

    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Where Prometheus finds the metrics, over HTTP at /metrics; 9464 is usual, 0 lets the system choose, and without a
    port they are not served."""

    metrics_host: str = "127.0.0.1"
    """The address on which the metrics are served. They name no user and no item, but they do tell how busy you are."""

    admin_port: int | None = Field(default=None, ge=0, le=65_535)
    """Where this machine, and no other, can ask for the server's status over gRPC (`recsys status`); 50052 is usual, 0
    lets the system choose, and without a port nobody can."""

    slow_ms: float = Field(default=250.0, gt=0)
    """From how many milliseconds on a ranking is warned of in the log, five times a second at most."""

    drift: float = Field(default=0.01, ge=0, le=1)
    """The share of the rankings whose features are watched for drift, by request id: 0 none, 1 all."""

    drift_reference: int = Field(default=2_000, ge=1, le=100_000)
    """How many of those, the first after the bundle was loaded, are what the later ones are measured against."""

    otlp_endpoint: str = ""
    """The OpenTelemetry collector that gets traces of calls, as http://host:4317; needs the extra `otel`. Empty: none
    are made."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Answered requests are logged at info, refused ones at warning, faults at error."""

    @property
    def describes_itself(self) -> bool:
        """Whether the server answers reflection."""
        return self.mode == "development" if self.reflection is None else self.reflection

    def as_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return an environment from which ``read`` reads these very settings, and in which all else is as given."""
        names = set(self.variables().values())
        others = {name: value for name, value in environment.items() if name.upper() not in names}
        said = self.model_dump(mode="json", exclude_none=True)
        return others | {
            self.variables()[name]: value if isinstance(value, str) else json.dumps(value)
            for name, value in said.items()
        }

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Name the environment variable of each setting."""
        prefix = str(cls.model_config["env_prefix"])
        return {name: f"{prefix}{name}".upper() for name in cls.model_fields}

    @classmethod
    def unknown(cls, environment: Iterable[str]) -> list[str]:
        """Return the variables that look like settings and are none: a mistyped one would do nothing."""
        known, prefix = set(cls.variables().values()), str(cls.model_config["env_prefix"])
        return sorted(name for name in environment if name.upper().startswith(prefix) and name.upper() not in known)

    @classmethod
    def read(cls, **settings: Any) -> Self:
        """Combine the given settings with those of the environment; the given ones win.

        Raises:
            ConfigError: a setting is unknown, missing or out of range; says which and how to give it.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            problems = [": ".join((*map(str, fault["loc"]), _said(fault))) for fault in error.errors()]
            raise ConfigError(
                "; ".join(problems) + "; correct the argument or the environment variable RECSYS_<NAME>"
            ) from None


def _said(fault: ErrorDetails) -> str:
    """Return what is wrong; pydantic puts the kind of error before what our own checks say."""
    return str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
