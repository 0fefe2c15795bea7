"""Finding a public dataset's files, and saying what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from recsys.errors import DatasetError, Fault


def find_file(source: Path, name: str) -> Path:
    """Return the file ``name`` of the folder ``source``.

    Raises:
        DatasetError: there is no such file.
    """
    path = source / name
    if not path.is_file():
        refuse(path, "missing file", f"name the folder that holds {name}, unpacked from the published archive")
    return path


def refuse(path: Path, problem: str, remedy: str, *, row: int = 0, column: str = "") -> NoReturn:
    """Raise the error for a source that cannot be imported; ``row`` counts data rows from 1."""
    raise DatasetError([Fault(file=str(path), column=column, row=row, problem=problem, remedy=remedy)])
