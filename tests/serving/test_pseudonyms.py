"""Ids stand in the log under a name that only the key's holder can find again."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.errors import ConfigError
from serving.pseudonyms import Pseudonyms

KEY = b"0123456789abcdef0123456789abcdef"


def test_an_id_has_one_pseudonym_by_one_key() -> None:
    assert Pseudonyms(KEY).of("user-7") == Pseudonyms(KEY).of("user-7") == "ca236caee324f6a4"
    assert Pseudonyms(KEY).of("user-8") != Pseudonyms(KEY).of("user-7")
    assert Pseudonyms(KEY[::-1]).of("user-7") != Pseudonyms(KEY).of("user-7")


def test_the_key_is_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    path.write_bytes(KEY + b"\n")

    assert Pseudonyms.read(path).of("user-7") == Pseudonyms(KEY).of("user-7")


def test_without_a_file_each_process_has_a_key_of_its_own() -> None:
    assert Pseudonyms.read(None).of("user-7") != Pseudonyms.read(None).of("user-7")


def test_a_file_that_is_no_key_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    with pytest.raises(ConfigError, match=r"log\.key cannot be read: No such file"):
        Pseudonyms.read(path)
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match="shorter than 32 bytes; make one with `openssl rand -hex 32`"):
        Pseudonyms.read(path)
