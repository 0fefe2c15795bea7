"""Writes a dataset's tables: all of them or none."""

from __future__ import annotations

from pathlib import Path

from recsys.dataset.reading import Dataset
from recsys.errors import DatasetError, Fault
from recsys.files import whole_directory


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
