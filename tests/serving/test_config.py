"""Settings come from arguments and the environment, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.errors import ConfigError
from serving.config import ServerConfig


def test_the_environment_fills_in_what_no_argument_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_PORT", "7000")
    monkeypatch.setenv("RECSYS_HOST", "0.0.0.0")  # noqa: S104 - only read
    monkeypatch.setenv("RECSYS_REFLECTION", "false")

    config = ServerConfig.read(registry="bundles", port=8000)

    assert (config.registry, config.port, config.host, config.reflection) == (Path("bundles"), 8000, "0.0.0.0", False)  # noqa: S104


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ServerConfig.read(port=70_000, threads=0, treads=2)

    assert all(name in str(caught.value) for name in ("registry", "port", "threads", "treads", "RECSYS_"))


def test_every_setting_has_a_help_text() -> None:
    assert [name for name, field in ServerConfig.model_fields.items() if not field.description] == []


def test_a_server_is_reachable_from_this_machine_only_unless_told_otherwise() -> None:
    assert ServerConfig(registry=Path("r")).host == "127.0.0.1"
