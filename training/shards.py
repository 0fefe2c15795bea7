"""A directory of numbered Parquet shards that a killed job leaves whole, and that the same job takes up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from recsys.errors import ConfigError
from recsys.files import whole_file, write_file

JOB = "_job.json"
SUCCESS = "_SUCCESS"

_ANOTHER = "name a new directory, or remove this one"


def file_sha256(path: Path) -> str:
    """Hash a file's content in bounded memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Shards:
    """The output of one job, which ``job`` identifies: what went in, and everything that can change what comes out.

    ``_job.json`` is written first and says whose shards these are, and ``_SUCCESS`` last. A shard is there whole or not
    at all, and what is there is not made again.
    """

    def __init__(self, directory: Path, job: Mapping[str, JsonValue]) -> None:
        self.directory = directory
        self._job = dict(job)

    def begun(self) -> bool:
        """Tell whether this very job was begun here.

        Raises:
            ConfigError: the directory holds what another job, or something else, wrote.
        """
        try:
            found = json.loads((self.directory / JOB).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            self._refuse_foreign()
            return False
        except (ValueError, OSError) as error:
            raise ConfigError(f"{self.directory / JOB} cannot be read; {_ANOTHER}") from error
        differing = [
            name for name, value in self._job.items() if not isinstance(found, dict) or found.get(name) != value
        ]
        if differing:
            raise ConfigError(
                f"{self.directory} holds the shards of another job, whose {', '.join(differing)} was not the same; "
                f"{_ANOTHER}"
            )
        return True

    def _refuse_foreign(self) -> None:
        """Write only into a directory of our own; hidden files are what a killed run of ours may leave."""
        if self.directory.exists() and not self.directory.is_dir():
            raise ConfigError(f"{self.directory} is not a directory; name one")
        if self.directory.is_dir() and any(not path.name.startswith(".") for path in self.directory.iterdir()):
            raise ConfigError(f"{self.directory} holds something else; name a new or empty directory")

    def begin(self) -> None:
        """Say durably whose directory this is; from here on shards may appear in it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_file(self.directory / JOB, (json.dumps(self._job, indent=1) + "\n").encode())

    def holds(self, number: int, rows: int) -> bool:
        """Tell whether a shard is there with so many rows; one that cannot be read counts as absent."""
        path = self._path(number)
        if not path.is_file():
            return False
        try:
            return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()) == rows
        except pl.exceptions.PolarsError:
            return False

    def write(self, number: int, frame: pl.DataFrame) -> None:
        """Write a shard, whole and durably."""
        with whole_file(self._path(number)) as temporary:
            frame.write_parquet(temporary)

    def reopen(self) -> None:
        """Take back that the job is finished, because a shard is missing after all."""
        (self.directory / SUCCESS).unlink(missing_ok=True)

    def finish(self, counts: Mapping[str, JsonValue]) -> None:
        """Say that every shard is there, and remove what killed runs left half written."""
        for rest in self.directory.glob(".*.tmp-*"):
            rest.unlink(missing_ok=True)
        write_file(self.directory / SUCCESS, (json.dumps({**self._job, **counts}, indent=1) + "\n").encode())

    def _path(self, number: int) -> Path:
        return self.directory / f"part-{number:05d}.parquet"
