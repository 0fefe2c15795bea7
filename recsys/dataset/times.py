"""Times as they come in tables, turned into UTC microseconds; a time that does not say it is UTC is a fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from recsys.dataset.columns import Column, Kind
from recsys.dataset.fault_log import FaultLog

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of this machine's clock a time may be before it counts as lying in the future."""

_UTC = pl.Datetime("us", "UTC")
_UTC_NAMES = {"UTC", "Etc/UTC", "Etc/UCT", "Etc/Zulu", "Zulu", "Universal", "+00:00"}
_CLOCK = r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2}(?:\.\d+)?) ?(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?$"
_ZERO_OFFSET = r"^(Z|z|UTC|[+-]00(:?00)?)$"
_NUMBERS_BEGIN = datetime(1990, 1, 1, tzinfo=UTC)  # as microseconds; seconds and milliseconds all lie before it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_WRITE = "write ISO 8601 in UTC such as 2025-01-31T09:30:00Z, or whole microseconds since 1970"
_CONVERT = "convert to UTC"
_NAIVE = "convert to UTC and say so"


def read_times(series: pl.Series, column: Column, log: FaultLog, now: datetime) -> pl.Series | None:
    """Turn a column of times into UTC microseconds, reporting every value that is no time, not UTC or out of range."""
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            log.whole(column.name, "times have no time zone", f"{_NAIVE}: store Datetime with time zone UTC")
            return None
        if dtype.time_zone not in _UTC_NAMES:
            log.whole(column.name, f"times are in {dtype.time_zone}, not in UTC", _CONVERT)
            return None
        times = series.dt.convert_time_zone("UTC").cast(_UTC)
    elif dtype == pl.String:
        times = _from_text(series, column, log)
    elif dtype.is_integer():
        times = _from_numbers(series, column, log)
    elif (dtype == pl.Date and column.kind is Kind.DAY) or dtype == pl.Null:
        times = series.cast(_UTC)
    else:
        log.whole(column.name, f"holds {dtype}, not {column.kind}", _WRITE)
        return None
    if column.required:
        log.rows(column.name, series.is_null(), "no time", "give every row its time")
    _check_range(times, column, log, now)
    return times


def _from_numbers(numbers: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    times = numbers.cast(pl.Int64, strict=False).cast(_UTC)
    log.rows(column.name, times < _NUMBERS_BEGIN, "not in microseconds", "give microseconds since 1970", numbers)
    return times


def _from_text(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    text = pl.col("text").str.strip_chars()
    parts = text.str.extract_groups(_CLOCK)
    frame = (
        series.alias("text")
        .to_frame()
        .select(
            "text",
            clock=parts.struct.field("1") + "T" + parts.struct.field("2"),
            zone=parts.struct.field("3"),
            number=text.str.extract(r"^(-?\d+)$").cast(pl.Int64, strict=False),
            day=text.str.extract(r"^(\d{4}-\d{2}-\d{2})$"),
        )
    )
    times = (
        frame["clock"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us").dt.replace_time_zone("UTC")
    )
    has_clock = times.is_not_null()
    in_utc = frame["zone"].str.contains(_ZERO_OFFSET)
    log.rows(column.name, has_clock & frame["zone"].is_null(), "time without a zone", f"{_NAIVE}: append Z", series)
    log.rows(column.name, has_clock & ~in_utc, "time that is not in UTC", f"{_CONVERT}, ending in Z", series)
    if frame["number"].is_not_null().any():
        times = times.zip_with(frame["number"].is_null(), _from_numbers(frame["number"], column, log))
    if column.kind is Kind.DAY:
        days = frame["day"].str.to_date("%Y-%m-%d", strict=False).cast(_UTC)
        times = times.zip_with(days.is_null(), days)
    given = series.is_not_null() & (series != "")
    log.rows(column.name, given & times.is_null(), "not a time", _WRITE, series)
    if column.required:
        log.rows(column.name, series == "", "no time", "give every row its time")
    return times


def _check_range(times: pl.Series, column: Column, log: FaultLog, now: datetime) -> None:
    future = times > now + CLOCK_SKEW
    log.rows(column.name, future, "time in the future", "check its unit and zone, or leave the row out", times)
    if column.kind is Kind.TIME:
        log.rows(column.name, times <= _EPOCH, "time not after 1970", "check its unit, or leave the row out", times)
