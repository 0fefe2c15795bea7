"""Writes a dataset's tables: all of them or none."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl

from recsys.dataset.columns import Column
from recsys.dataset.reading import Dataset
from recsys.errors import DatasetError, Fault
from recsys.files import whole_directory

_ROW_GROUP = 20_000


def write_dataset(dataset: Dataset, directory: Path) -> None:
    """Write the tables as Parquet into a new directory.

    Raises:
        DatasetError: the directory exists already; nothing is overwritten.
    """
    refuse_existing(directory)
    with whole_directory(directory) as temporary:
        dataset.items.write_parquet(temporary / "items.parquet")
        dataset.impressions.write_parquet(temporary / "impressions.parquet")
        if not dataset.events.is_empty():
            dataset.events.write_parquet(temporary / "events.parquet")


def refuse_existing(directory: Path) -> None:
    """Say early that a dataset cannot be written where something is already.

    Raises:
        DatasetError: the directory exists.
    """
    if directory.exists():
        remedy = "name a new directory, or remove it first"
        raise DatasetError([Fault(file=str(directory), column="", row=0, problem="exists already", remedy=remedy)])


class GrowingTable:
    """A table that is written part by part, so that it need not fit into memory; ``finish`` makes it one file.

    It has those of the ``columns`` that every part brings.
    """

    def __init__(self, directory: Path, name: str, columns: tuple[Column, ...]) -> None:
        self.rows = 0
        self._file = directory / f"{name}.parquet"
        self._parts = directory / f"{name}.parts"
        self._count = 0
        self._dtypes = {column.name: column.dtype for column in columns}

    def add(self, rows: dict[str, list[object]]) -> None:
        """Append rows, given by column; times as integers, in UTC microseconds."""
        frame = pl.DataFrame(
            [pl.Series(name, values, dtype=self._dtypes[name]) for name, values in rows.items()],
        )
        if frame.is_empty():
            return
        self._parts.mkdir(exist_ok=True)
        frame.write_parquet(self._parts / f"{self._count:06d}.parquet")
        self._count += 1
        self.rows += frame.height

    def finish(self) -> None:
        """Write the file; there is none when there are no rows."""
        if self._count:
            whole = pl.scan_parquet(self._parts / "*.parquet")
            whole.sink_parquet(self._file, row_group_size=_ROW_GROUP, maintain_order=True)
            shutil.rmtree(self._parts)
