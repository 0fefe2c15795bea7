"""Items that arrive one by one, brought into the form of an item table that is in use."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from recsys.dataset.checks import check_items
from recsys.dataset.columns import ITEMS
from recsys.dataset.fault_log import FaultLog
from recsys.dataset.raw import RawTable
from recsys.dataset.reading import conform
from recsys.errors import InvalidRequest
from recsys.schema import MAX_TEXT_BYTES

_TEXTS = pl.List(pl.String)
_FAULTS_SAID = 3
_NAMES_SAID = 20


def conform_items(given: pl.DataFrame, schema: pl.Schema, *, now: datetime | None = None) -> pl.DataFrame:
    """Return items with the columns, in the order and with the dtypes, of an item table; absent ones take defaults.

    Args:
        given: item_id and title, further columns of the table or not.
        schema: the table's.
        now: times after this lie in the future; the clock's time where None.

    Raises:
        InvalidRequest: names the columns and rows that are wrong, and the columns that would be known.
    """
    check_attributes(given.columns, schema)
    if given.is_empty():
        return pl.DataFrame(schema=schema)
    log = FaultLog(file="items", quotes=False)
    items = conform(RawTable(frame=given), ITEMS, log, now or datetime.now(UTC))
    check_items(items, log)
    attributes = [_attribute(given, name, schema[name], log) for name in attributes_of(schema)]
    if log.faults:
        more = len(log.faults) - _FAULTS_SAID
        said = "; ".join(map(str, log.faults[:_FAULTS_SAID]))
        raise InvalidRequest(f"{said}; and {more} faults more" if more > 0 else said)
    return items.with_columns(attributes).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def attributes_of(schema: pl.Schema) -> list[str]:
    """Name the columns that the product gives no meaning of its own."""
    declared = {column.name for column in ITEMS}
    return [name for name in schema if name not in declared]


def check_attributes(names: list[str], schema: pl.Schema) -> None:
    """Refuse columns that an item table does not have; raises InvalidRequest, which names those that it has."""
    declared = [column.name for column in ITEMS]
    unknown = sum(name not in declared and name not in schema for name in names)
    if unknown:
        known = attributes_of(schema)
        more = f" and {len(known) - _NAMES_SAID} more" if len(known) > _NAMES_SAID else ""
        # How many, not which: names are a caller's texts too, and texts of errors end in logs.
        what = "is no attribute" if unknown == 1 else "are no attributes"
        raise InvalidRequest(
            f"{unknown} of the columns sent {what} of this model's items; "
            f"send {', '.join(known[:_NAMES_SAID]) or 'none: it knows no attributes'}{more}, or train with it"
        )


def _attribute(given: pl.DataFrame, name: str, dtype: pl.DataType, log: FaultLog) -> pl.Series:
    nothing = pl.Series(name, [None], dtype=dtype).new_from_index(0, given.height)
    if name not in given.columns or given[name].dtype in (pl.Null, pl.List(pl.Null)):
        return nothing
    series = given[name]
    if dtype.is_numeric() and series.dtype.is_numeric():
        return _number(series, dtype, log)
    if series.dtype != dtype:
        log.whole(name, f"holds {_said(series.dtype)}, not {_said(dtype)}", f"send {_said(dtype)}, or leave it out")
        return nothing
    if dtype in (pl.String, _TEXTS):
        length = (series.list.join(" ") if dtype == _TEXTS else series).str.len_bytes()
        log.rows(name, length > MAX_TEXT_BYTES, f"text longer than {MAX_TEXT_BYTES:,} bytes", "shorten the text")
    return series


def _number(series: pl.Series, dtype: pl.DataType, log: FaultLog) -> pl.Series:
    if series.dtype.is_float():
        log.rows(series.name, series.is_infinite(), "not finite", "give a number, or nothing", series)
        series = series.fill_nan(None)
    cast = series.cast(dtype, strict=False)
    if dtype.is_integer():
        odd = series.is_not_null() & (cast.is_null() | (cast.cast(pl.Float64) != series.cast(pl.Float64)))
        log.rows(series.name, odd, "not a whole number", "give a whole number", series)
    return cast


def _said(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "numbers"
    return {pl.Boolean: "true or false", pl.String: "texts", _TEXTS: "lists of texts"}.get(dtype, str(dtype))
