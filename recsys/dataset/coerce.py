"""Turns one column as it was read into its canonical dtype, reporting every value that is not what it should be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl

from recsys.dataset.columns import DTYPES, Column, Kind
from recsys.dataset.csv_cells import FROM_TEXT
from recsys.dataset.fault_log import FaultLog
from recsys.dataset.times import read_times
from recsys.schema import MAX_ID_BYTES, MAX_TEXT_BYTES

_GIVE_ID = "give every row an id, or leave the row out"


def coerce(series: pl.Series, column: Column, log: FaultLog, *, text: bool, now: datetime) -> pl.Series | None:
    """Return the column in its canonical dtype, or None where it is of the wrong type as a whole.

    Args:
        series: the column as read.
        column: what it should be.
        log: takes the faults.
        text: whether every value is a string (CSV), so that numbers and lists have to be read from it.
        now: times after this lie in the future.
    """
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    if series.dtype == pl.Binary and column.dtype == pl.String:
        series = _decode(series, column, log)
    if isinstance(series.dtype, pl.Array):
        series = series.cast(pl.List(series.dtype.inner))
    if column.kind in {Kind.TIME, Kind.DAY}:
        times = read_times(series, column, log, now)
        return None if times is None else times.alias(column.name)
    if series.dtype in (pl.Null, pl.List(pl.Null)):  # nothing but nulls or empty lists says nothing of its type
        series = series.cast(column.dtype, strict=False)
        text = False
    if text and column.kind in FROM_TEXT:
        series = FROM_TEXT[column.kind](series, column, log)
    if not _accepts(column.kind, series.dtype):
        log.whole(column.name, f"wrong type {series.dtype}", f"make every value {column.kind}")
        return None
    return _CHECKED[column.kind](series, column, log).alias(column.name)


def _decode(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    try:
        return series.cast(pl.String)
    except pl.exceptions.ComputeError:
        text = ["" if value is None else value.decode(errors="replace") for value in series]
    sound = [value is None or value == said.encode() for value, said in zip(series, text, strict=True)]
    log.rows(column.name, ~pl.Series(sound), "text that is not UTF-8", "write the column as UTF-8", series)
    return pl.Series(text, dtype=pl.String)


def _accepts(kind: Kind, dtype: pl.DataType) -> bool:
    if kind is Kind.FLAGS:
        return isinstance(dtype, pl.List) and (dtype.inner == pl.Boolean or dtype.inner.is_integer())
    if kind is Kind.FLAG:
        return dtype == pl.Boolean or dtype.is_integer()
    if kind is Kind.PLACE:
        return dtype.is_integer()
    if kind is Kind.NUMBER:
        return dtype.is_numeric()
    return dtype == DTYPES[kind]


def _id(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    log.rows(column.name, series.is_null() | (series == ""), "null or empty id", _GIVE_ID)
    too_long = series.str.len_bytes() > MAX_ID_BYTES
    log.rows(column.name, too_long, f"id longer than {MAX_ID_BYTES} bytes", "use a shorter id", series)
    return series.set(series == "", None) if (series == "").any() else series


def _text(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    limit = MAX_ID_BYTES if column.name == "surface" else MAX_TEXT_BYTES
    too_long = series.str.len_bytes() > limit
    log.rows(column.name, too_long, f"text longer than {limit:,} bytes", "shorten the text", series)
    return series.fill_null("")


def _tags(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    words = series.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "")))
    words = words.fill_null(pl.Series([[]], dtype=pl.List(pl.String))) if words.null_count() else words
    too_long = words.list.join(" ").str.len_bytes() > MAX_TEXT_BYTES
    log.rows(column.name, too_long, f"tags longer than {MAX_TEXT_BYTES:,} bytes together", "keep fewer tags")
    return words


def _ids(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    if column.required:
        log.rows(column.name, series.is_null(), "no list", "give every row its list")
    holes = series.list.contains(None) | series.list.contains("") if _has_holes(series, "") else None
    if holes is not None:
        log.rows(column.name, holes, "null or empty id in the list", "name every item, or leave the row out", series)
    return series


def _flags(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    log.rows(column.name, series.is_null(), "no list", "give every row its list")
    if isinstance(series.dtype, pl.List) and series.dtype.inner.is_integer():
        odd = series.list.eval(~pl.element().is_in([0, 1])).list.any()
        log.rows(column.name, odd, "a flag that is neither 0 nor 1", "write 1 for clicked and 0 for not", series)
        series = series.cast(pl.List(pl.Boolean))
    if _has_holes(series, None):
        holes = series.list.eval(pl.element().is_null()).list.any()
        log.rows(column.name, holes, "null flag in the list", "say true or false of every item", series)
    return series


def _has_holes(series: pl.Series, hole: str | None) -> bool:
    values = series.explode(empty_as_null=False, keep_nulls=False)
    return bool(values.null_count()) or (hole is not None and bool((values == hole).any()))


def _flag(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    if series.dtype.is_integer():
        odd = ~series.is_in([0, 1])
        log.rows(column.name, odd, "neither 0 nor 1", "write 1 for clicked and 0 for not", series)
        series = series.cast(pl.Boolean)
    log.rows(column.name, series.is_null(), "no flag", "say true or false of every item")
    return series


def _number(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    numbers = series.cast(pl.Float64)
    bad = ~numbers.is_finite() | (numbers < 0)
    log.rows(column.name, bad, "negative or not finite", "give a number of at least 0", series)
    return numbers.fill_null(column.default) if isinstance(column.default, float) else numbers


def _place(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    log.rows(column.name, series.is_null(), "no position", "give every item shown its place")
    return series.cast(pl.Int64)


def _split(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    split = series.set(series == "", None)
    log.rows(column.name, ~split.is_in(["train", "test"]), f"not {Kind.SPLIT}", f"write {Kind.SPLIT}", series)
    return split


_CHECKED: dict[Kind, Callable[[pl.Series, Column, FaultLog], pl.Series]] = {
    Kind.ID: _id,
    Kind.TEXT: _text,
    Kind.TAGS: _tags,
    Kind.IDS: _ids,
    Kind.FLAGS: _flags,
    Kind.FLAG: _flag,
    Kind.NUMBER: _number,
    Kind.PLACE: _place,
    Kind.SPLIT: _split,
}
