"""Reads what a CSV cell means: flags, numbers and lists.

A list is a JSON array where the cell begins with ``[``. Otherwise ids and flags are separated by ``|`` where the cell
holds one, by spaces where it does not; tags and other texts, which may hold spaces, are separated by ``|`` alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl

from recsys.dataset.columns import Column, Kind
from recsys.dataset.fault_log import FaultLog

_TEXTS = pl.List(pl.String())
_FLAG_WORDS = {"true": True, "false": False, "1": True, "0": False}


def split_cells(cells: pl.Series, *, by_space: bool) -> tuple[pl.Series, pl.Series]:
    """Split cells into lists of texts; returns the lists and a mask of the cells that are no list."""
    cell = pl.col("cell")
    plain = cell.str.split("|").list.eval(pl.element().str.strip_chars())
    if by_space:
        by_spaces = cell.str.strip_chars().str.extract_all(r"\S+")
        plain = pl.when(cell.str.contains("|", literal=True)).then(plain).otherwise(by_spaces)
    lists = cells.alias("cell").to_frame().select(plain.alias("cell"))["cell"]
    is_json = cells.str.starts_with("[").fill_null(value=False)
    if not is_json.any():
        return lists, is_json
    arrays = [_array(cell) if wanted else None for cell, wanted in zip(cells, is_json, strict=True)]
    decoded = pl.Series(arrays, dtype=_TEXTS)
    return decoded.zip_with(is_json, lists), is_json & decoded.is_null()


def _array(cell: str) -> list[str | None] | None:
    try:
        values = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


def _lists(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    lists, wrong = split_cells(series, by_space=column.kind is not Kind.TAGS)
    log.rows(column.name, wrong, "not a list", 'write a JSON array such as ["a", "b"], or separate with |', series)
    return lists


def _flags(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    lists = _lists(series, column, log)
    odd = lists.list.eval(_is_no_flag(pl.element())).list.any()
    log.rows(column.name, odd, "a flag that is neither true nor false", "write true or false, or 1 or 0", series)
    return lists.list.eval(_word_to_flag(pl.element()))


def _flag(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    frame = series.alias("word").to_frame()
    odd = frame.select(_is_no_flag(pl.col("word")))["word"]
    log.rows(column.name, odd, "neither true nor false", "write true or false, or 1 or 0", series)
    return frame.select(_word_to_flag(pl.col("word")))["word"]


def _word_to_flag(word: pl.Expr) -> pl.Expr:
    """Read a flag; what is none was reported already and reads as false."""
    name = word.str.strip_chars().str.to_lowercase()
    return name.replace_strict(
        _FLAG_WORDS, default=pl.when(word.is_not_null()).then(statement=False), return_dtype=pl.Boolean
    )


def _is_no_flag(word: pl.Expr) -> pl.Expr:
    return ~word.str.strip_chars().str.to_lowercase().is_in(list(_FLAG_WORDS))


def _number(series: pl.Series, column: Column, log: FaultLog) -> pl.Series:
    numbers = series.str.strip_chars().cast(column.dtype, strict=False)
    wrong = series.is_not_null() & numbers.is_null()
    log.rows(column.name, wrong, f"not {column.kind}", f"write {column.kind}", series)
    return numbers


FROM_TEXT: dict[Kind, Callable[[pl.Series, Column, FaultLog], pl.Series]] = {
    Kind.IDS: _lists,
    Kind.TAGS: _lists,
    Kind.FLAGS: _flags,
    Kind.FLAG: _flag,
    Kind.NUMBER: _number,
    Kind.PLACE: _number,
}
