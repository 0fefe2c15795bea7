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


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"gone\.crt cannot be read: No such file"):
        RankingClient("127.0.0.1:1", credentials=Credentials(ca=Path("gone.crt")))
