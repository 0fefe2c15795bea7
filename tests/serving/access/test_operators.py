"""In production the operator's port stands behind the same door as the port for callers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recsys.cli.commands import app
from recsys.errors import NotReady
from serving.admin_client import AdminClient
from serving.client import Credentials, ServiceError


@pytest.fixture(scope="module")
def operated(serve_guarded: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """A production server with a port for operators, and the file of who signed its certificate."""
    folder = tmp_path_factory.mktemp("operated")
    with serve_guarded(folder, admin_port=0) as guarded:
        ca = folder / "ca.crt"
        ca.write_bytes(guarded.authority.pem)
        yield guarded, ca


def test_an_admin_is_told_the_status(operated: tuple[Any, Path]) -> None:
    guarded, ca = operated
    token = guarded.issuer.token(["admin"])

    with AdminClient(guarded.running.admin, credentials=Credentials(ca=ca), token=token) as client:
        assert client.status().bundle_id == guarded.running.model.bundle_id


@pytest.mark.parametrize(
    ("roles", "code"), [(["rank", "write"], "PERMISSION_DENIED"), (None, "UNAUTHENTICATED")], ids=["caller", "nobody"]
)
def test_nobody_else_is(operated: tuple[Any, Path], roles: list[str] | None, code: str) -> None:
    guarded, ca = operated
    token = None if roles is None else guarded.issuer.token(roles)

    with (
        AdminClient(guarded.running.admin, credentials=Credentials(ca=ca), token=token) as client,
        pytest.raises(ServiceError) as raised,
    ):
        client.status()

    assert raised.value.code == code


def test_in_the_clear_nothing_is_told(operated: tuple[Any, Path]) -> None:
    guarded, _ = operated

    with AdminClient(guarded.running.admin) as client, pytest.raises(NotReady):
        client.status()


def test_the_command_takes_a_token_from_a_file(operated: tuple[Any, Path], tmp_path: Path) -> None:
    guarded, ca = operated
    token = tmp_path / "token"
    token.write_text(guarded.issuer.token(["admin"]) + "\n")

    shown = CliRunner().invoke(app, ["status", guarded.running.admin, "--ca", str(ca), "--token-file", str(token)])

    assert shown.exit_code == 0, shown.output
    assert guarded.running.model.bundle_id in shown.output
