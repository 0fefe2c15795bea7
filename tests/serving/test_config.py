"""Settings come from arguments and the environment, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("variants", "new:0.1", "variants: a variant is not of the form NAME=BUNDLE_ID:SHARE"),
        ("variants", "a=x:0.6,b=y:0.6", "variants: the shares of the variants are 1.2 together"),
        ("variants_salt", "s" * 65, "variants_salt: the salt is longer than 64 bytes"),
        ("shadow", "x:much", "shadow: 'much' is no share"),
        ("shadow", "x", "shadow: a shadow is not of the form BUNDLE_ID:SHARE"),
        ("shadow", "x:1.5", "shadow: a shadow is not of the form BUNDLE_ID:SHARE"),
        ("ladder_up", 0.9, "ladder_up must be below ladder_down"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_loaded_and_in_our_words(name: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerConfig.read(registry="r", **{name: value})

    assert str(caught.value).startswith(says)


def test_variables_that_are_no_settings_are_found() -> None:
    environment = ["RECSYS_PORT", "recsys_host", "RECSYS_TREADS", "RECSYS_SERVICE_HOST", "PATH", "RECSYS"]

    assert ServerConfig.unknown(environment) == ["RECSYS_SERVICE_HOST", "RECSYS_TREADS"]


def test_every_setting_has_a_help_text() -> None:
    assert [name for name, field in ServerConfig.model_fields.items() if not field.description] == []


def test_a_server_is_reachable_from_this_machine_only_unless_told_otherwise() -> None:
    assert ServerConfig(registry=Path("r")).host == "127.0.0.1"
