"""An item table's further columns: numbers, booleans, texts and lists of texts, as they come."""

from __future__ import annotations

import polars as pl

from recsys.dataset.csv_cells import split_cells
from recsys.dataset.fault_log import FaultLog

_REMEDY = "make it a number, a boolean, a text or a list of texts, or leave the column out"


def coerce_attribute(series: pl.Series, log: FaultLog, *, text: bool) -> pl.Series | None:
    """Return an attribute as Float64, Int64, Boolean, String or List(String); None where it is none of these."""
    if text:
        series = _guess(series)
    if isinstance(series.dtype, pl.Array):
        series = series.cast(pl.List(series.dtype.inner))
    if series.dtype == pl.List(pl.Null):
        series = series.cast(pl.List(pl.String))
    dtype = series.dtype
    if isinstance(dtype, (pl.Categorical, pl.Enum)) or dtype == pl.Null:
        return series.cast(pl.String)
    if dtype.is_integer():
        return series.cast(pl.Int64, strict=False)
    if dtype.is_numeric():
        numbers = series.cast(pl.Float64)
        log.rows(series.name, numbers.is_infinite(), "not finite", "give a number, or nothing", series)
        return numbers.fill_nan(None)
    if dtype in (pl.Boolean, pl.String, pl.List(pl.String)):
        return series
    log.whole(series.name, f"an attribute of type {dtype}", _REMEDY)
    return None


def _guess(cells: pl.Series) -> pl.Series:
    """Read a CSV column as the narrowest type that fits all of its cells."""
    given = cells.drop_nulls()
    for dtype in (pl.Int64, pl.Float64):
        if given.len() and given.cast(dtype, strict=False).null_count() == 0:
            return cells.cast(dtype)
    words = given.str.to_lowercase()
    if given.len() and words.is_in(["true", "false"]).all():
        return cells.str.to_lowercase() == "true"
    if given.len() and given.str.starts_with("[").all():
        lists, wrong = split_cells(cells, by_space=False)
        if not wrong.any():
            return lists.alias(cells.name)
    return cells
