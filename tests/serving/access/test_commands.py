"""Who asks from the shell can make themselves known, as any other caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from typer.testing import CliRunner

from recsys.cli.commands import app
from recsys.errors import ConfigError, NotReady
from serving.client import ServiceError


@pytest.fixture(scope="module")
def shell(mutual: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A command line that has the files it needs to ask a server that takes tokens and certificates."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "ca.crt").write_bytes(mutual.authority.pem)
    for role in ("rank", "write"):
        (folder / f"{role}.token").write_text(mutual.issuer.token([role]) + "\n")
    mutual.authority.signs("shop.internal").write(folder, "shop")
    mutual.authority.signs("stranger").write(folder, "stranger")

    def run(command: str, *words: str) -> Any:
        given: Sequence[str] = [str(folder / word) if (folder / word).exists() else word for word in words]
        return CliRunner().invoke(app, [command, "a", "bbb", "--address", mutual.address, *given])

    return run


SHOP = ("--ca", "ca.crt", "--certificate", "shop.crt", "--key", "shop.key")
STRANGER = ("--ca", "ca.crt", "--certificate", "stranger.crt", "--key", "stranger.key")


@pytest.mark.parametrize("command", ["rank", "explain"])
@pytest.mark.parametrize(
    "known", [SHOP, (*STRANGER, "--token-file", "rank.token")], ids=["by certificate", "by a token"]
)
def test_who_may_rank_gets_a_ranking(shell: Any, command: str, known: tuple[str, ...]) -> None:
    shown = shell(command, *known)

    assert shown.exit_code == 0, shown.output
    assert shown.output.index("bbb") < shown.output.index(" a ")


@pytest.mark.parametrize(
    ("known", "error", "says"),
    [
        ((*STRANGER, "--token-file", "write.token"), ServiceError, "PERMISSION_DENIED: this needs the role rank"),
        (STRANGER, ServiceError, "PERMISSION_DENIED"),
        ((), NotReady, "does not serve"),
        (("--token-file", "rank.token"), NotReady, "does not serve"),
        (SHOP[:4], ConfigError, "certificate and key go together"),
        (SHOP[4:], ConfigError, "certificate and key go together"),
        (("--token-file", "none.token"), ConfigError, "none.token cannot be read: No such file"),
    ],
    ids=[
        "a token of another role",
        "nobody's certificate",
        "nothing",
        "a token, and a CA that is not the system's",
        "no key",
        "no certificate",
        "no token",
    ],
)
def test_who_may_not_is_told_why(shell: Any, known: tuple[str, ...], error: type[Exception], says: str) -> None:
    """The control of the test above."""
    refused = shell("rank", *known)

    assert isinstance(refused.exception, error), refused.exception
    assert says in str(refused.exception)
