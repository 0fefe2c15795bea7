"""Collects what is wrong with a dataset, so that all of it can be said at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from recsys.errors import Fault

MAX_ROWS = 20
"""Rows reported per column and problem; of further ones only the count is said."""

_SHOWN_CHARACTERS = 60


def _shorten(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


@dataclass(slots=True, kw_only=True)
class FaultLog:
    """The faults of one file; ``numbers`` names the row of each record where some records could not be read.

    Values are quoted unless ``quotes`` is False: what a caller sent shall not end in the logs of whoever is told.
    """

    file: str
    quotes: bool = True
    numbers: pl.Series | None = None
    faults: list[Fault] = field(default_factory=list)

    def whole(self, column: str, problem: str, remedy: str) -> None:
        """Report a fault of the whole column, or of the whole file where ``column`` is empty."""
        self.faults.append(Fault(file=self.file, column=column, row=0, problem=problem, remedy=remedy))

    def at(
        self, column: str, numbers: list[int], problem: str, remedy: str, values: list[object] | None = None
    ) -> None:
        """Report a fault at each of these rows (counted from 1), up to ``MAX_ROWS`` of them."""
        for index, number in enumerate(numbers[:MAX_ROWS]):
            detail = problem if values is None or not self.quotes else f"{problem}: {_shorten(values[index])}"
            self.faults.append(Fault(file=self.file, column=column, row=number, problem=detail, remedy=remedy))
        if len(numbers) > MAX_ROWS:
            self.whole(column, f"{problem}: {len(numbers) - MAX_ROWS:,} more rows", remedy)

    def rows(self, column: str, mask: pl.Series, problem: str, remedy: str, values: pl.Series | None = None) -> None:
        """Report a fault wherever ``mask`` is true, quoting that row of ``values``."""
        if not mask.any():
            return
        indices = mask.fill_null(value=False).arg_true()
        self.indices(
            column, indices, problem, remedy, None if values is None else values.gather(indices.head(MAX_ROWS))
        )

    def indices(self, column: str, indices: pl.Series, problem: str, remedy: str, values: pl.Series | None) -> None:
        """Report a fault at these rows (counted from 0), quoting the values that belong to them."""
        numbers = indices + 1 if self.numbers is None else self.numbers.gather(indices)
        self.at(column, numbers.to_list(), problem, remedy, None if values is None else values.head(MAX_ROWS).to_list())
