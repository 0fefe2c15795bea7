"""What a client's connection is made of is checked before anything is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from serving.client import AsyncRankingClient, Credentials, RankingClient


def test_a_token_is_not_sent_in_the_clear() -> None:
    with pytest.raises(ConfigError, match="in the clear; give credentials too"):
        RankingClient("127.0.0.1:1", token="secret")

    async def make() -> None:
        AsyncRankingClient("127.0.0.1:1", token="secret")

    with pytest.raises(ConfigError, match="in the clear; give credentials too"):
        asyncio.run(make())


def test_a_certificate_is_of_no_use_without_its_key() -> None:
    with pytest.raises(ConfigError, match="go together"):
        Credentials(certificate=Path("own.crt"))


@pytest.mark.parametrize(
    ("wrong", "what"), [("ca", "certificate"), ("certificate", "certificate"), ("key", "private key")]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, wrong: str, what: str) -> None:
    (tmp_path / "other.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    for name, kind in (("ca", "CERTIFICATE"), ("certificate", "CERTIFICATE"), ("key", "EC PRIVATE KEY")):
        (tmp_path / name).write_text(f"-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n")
    files = {name: tmp_path / name for name in ("ca", "certificate", "key")}
    RankingClient("127.0.0.1:1", credentials=Credentials(**files)).close()  # as the control, files of the right form

    with pytest.raises(ConfigError, match=rf"other\.pem holds no {what} in PEM"):
        RankingClient("127.0.0.1:1", credentials=Credentials(**{**files, wrong: tmp_path / "other.pem"}))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"gone\.crt cannot be read: No such file"):
        RankingClient("127.0.0.1:1", credentials=Credentials(ca=Path("gone.crt")))
