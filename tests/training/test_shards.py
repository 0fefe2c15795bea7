"""Shards appear whole or not at all, belong to one job, and are not made twice."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import ConfigError
from training.shards import Shards, file_sha256

JOB = {"kind": "items", "bundle_id": "a", "shard_rows": 2}
FRAME = pl.DataFrame({"item_id": ["tea", "cup"]})


def test_a_job_that_was_begun_is_known_again(tmp_path: Path) -> None:
    out = tmp_path / "out"

    assert not Shards(out, JOB).begun()
    assert not out.exists()

    Shards(out, JOB).begin()

    assert Shards(out, JOB).begun()


@pytest.mark.parametrize("other", [{"bundle_id": "b"}, {"shard_rows": 3}, {"precision": "int8"}])
def test_the_directory_of_another_job_is_refused_by_what_differs(tmp_path: Path, other: dict[str, str]) -> None:
    Shards(tmp_path / "out", JOB).begin()

    with pytest.raises(ConfigError, match=rf"whose {next(iter(other))} was not the same; name a new directory"):
        Shards(tmp_path / "out", {**JOB, **other}).begun()


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_job_file_is_refused(tmp_path: Path, text: str) -> None:
    Shards(tmp_path, JOB).begin()
    (tmp_path / "_job.json").write_text(text, encoding="latin-1")

    with pytest.raises(ConfigError, match="remove this one"):
        Shards(tmp_path, JOB).begun()


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(ConfigError, match="holds something else"):
        Shards(tmp_path, JOB).begun()
    with pytest.raises(ConfigError, match="not a directory"):
        Shards(tmp_path / "notes.txt", JOB).begun()


def test_what_a_killed_run_left_hidden_does_not_stop_the_next_and_goes_in_the_end(tmp_path: Path) -> None:
    rest = tmp_path / ".part-00000.parquet.tmp-1"
    rest.write_bytes(b"half")
    shards = Shards(tmp_path, JOB)

    assert not shards.begun()

    shards.begin()
    shards.finish({"rows": 0})

    assert not rest.exists()


def test_a_shard_counts_only_with_all_of_its_rows(tmp_path: Path) -> None:
    shards = Shards(tmp_path, JOB)
    shards.begin()

    assert not shards.holds(0, 2)

    shards.write(0, FRAME)

    assert shards.holds(0, 2)
    assert not shards.holds(0, 3)

    path = tmp_path / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-9])

    assert not shards.holds(0, 2)


def test_a_shard_that_fails_half_way_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_self: pl.DataFrame, path: Path) -> None:
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    shards = Shards(tmp_path, JOB)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", half)

    with pytest.raises(OSError, match="No space"):
        shards.write(0, FRAME)
    assert list(tmp_path.iterdir()) == []


def test_success_says_what_was_done_and_is_taken_back_on_reopening(tmp_path: Path) -> None:
    shards = Shards(tmp_path, JOB)
    shards.begin()
    shards.finish({"rows": 2, "shards": 1})

    assert json.loads((tmp_path / "_SUCCESS").read_text()) == {**JOB, "rows": 2, "shards": 1}

    shards.reopen()

    assert not (tmp_path / "_SUCCESS").exists()


def test_a_file_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")

    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
