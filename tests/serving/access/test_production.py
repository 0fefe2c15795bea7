"""What a server refuses to start without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from recsys.errors import ConfigError
from serving.access.door import open_door
from serving.config import ServerConfig
from serving.process import run_server

NAMES: dict[str, Any] = {"token_issuer": "i", "token_audience": "a"}
FILES = ("tls_certificate", "tls_key", "tls_client_ca", "callers", "token_keys")


@pytest.fixture
def _defaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("serving.server.give_way", lambda *_: None)  # niceness cannot be taken back
    yield
    structlog.reset_defaults()  # run_server has set up the process's log


@pytest.fixture
def files(mutual: Any) -> dict[str, Path]:
    return {name: mutual.files[name] for name in FILES}


def config(files: dict[str, Path], *wanted: str, **more: Any) -> ServerConfig:
    names = NAMES if "token_keys" in wanted else {}
    return ServerConfig(registry=Path("r"), port=0, **{name: files[name] for name in wanted}, **{**names, **more})


TLS = ("tls_certificate", "tls_key")


@pytest.mark.parametrize(
    ("wanted", "more", "problem"),
    [
        ((), {"mode": "production"}, "production needs TLS.*production needs to know its callers"),
        (TLS, {"mode": "production"}, "production needs to know its callers; give token_keys, or"),
        ((*TLS, "tls_client_ca"), {"mode": "production"}, "tls_client_ca alone gives nobody a role"),
        (("token_keys",), {"mode": "production"}, "production needs TLS"),
        (("token_keys",), {}, "tokens would cross the network in the clear"),
        (("tls_certificate",), {}, "tls_certificate and tls_key go together"),
        (("tls_client_ca", "callers"), {}, "tls_client_ca needs TLS"),
        ((*TLS, "callers"), {}, "callers names client certificates, but none are asked for"),
        ((*TLS, "token_keys"), {"token_issuer": ""}, "token_keys, token_issuer and token_audience go together"),
        ((*TLS, "token_keys"), {"token_audience": ""}, "token_keys, token_issuer and token_audience go together"),
        (TLS, NAMES, "token_keys, token_issuer and token_audience go together"),
    ],
)
@pytest.mark.usefixtures("_defaults")
def test_a_server_that_would_let_in_anybody_does_not_start(
    files: dict[str, Path], wanted: tuple[str, ...], more: dict[str, Any], problem: str
) -> None:
    def loaded(_registry: Path) -> Any:
        raise AssertionError("it started")

    with pytest.raises(ConfigError, match=problem):
        run_server(config(files, *wanted, **more), loaded)


@pytest.mark.parametrize(
    ("wanted", "mode"),
    [
        ((), "development"),
        (TLS, "development"),
        ((*TLS, "token_keys"), "production"),
        ((*TLS, "tls_client_ca", "callers"), "production"),
        (FILES, "production"),
        ((*TLS, "tls_client_ca", "token_keys"), "production"),
    ],
)
def test_a_server_that_knows_its_callers_starts(files: dict[str, Path], wanted: tuple[str, ...], mode: Any) -> None:
    """The control of the test above."""
    door = open_door(config(files, *wanted, mode=mode))

    assert (door.tls is not None) == ("tls_key" in wanted)


def test_a_server_describes_itself_in_development_unless_told_otherwise() -> None:
    said = [
        ServerConfig(registry=Path("r"), mode=mode, reflection=reflection).describes_itself
        for mode in ("development", "production")
        for reflection in (None, True, False)
    ]

    assert said == [True, True, False, False, True, False]


def test_the_mode_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_MODE", "production")
    monkeypatch.setenv("RECSYS_TLS_KEY", "key.pem")

    read = ServerConfig.read(registry="r")
    assert (read.mode, read.tls_key) == ("production", Path("key.pem"))
    with pytest.raises(ConfigError, match="mode"):
        ServerConfig.read(registry="r", mode="prodcution")


def test_connections_by_certificate_end_in_an_hour_so_that_it_is_asked_for_again(files: dict[str, Path]) -> None:
    assert open_door(config(files, *TLS, "tls_client_ca", "callers")).options == (
        ("grpc.max_connection_age_ms", 3_600_000),
    )
    assert open_door(config(files, *TLS)).options == ()
