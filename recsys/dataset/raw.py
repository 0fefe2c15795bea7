"""Reads a table's file as it is, Parquet, CSV or JSONL, reporting every record that cannot be read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recsys.dataset.fault_log import FaultLog

_SAVE_UTF8 = "save the file as UTF-8"
NO_ROWS = ("no rows", "write the table again")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    """A file's records before any conversion.

    ``text`` says that every value is a string (CSV); ``json`` names the file whose values have types of their own each
    (JSONL); ``unreadable`` names the columns that were reported already.
    """

    frame: pl.DataFrame
    text: bool = False
    json: Path | None = None
    unreadable: frozenset[str] = frozenset()


def read_raw(path: Path, wanted: Callable[[str], bool], log: FaultLog) -> RawTable | None:
    """Read the columns that are ``wanted``, or report why the file cannot be read and return None."""
    try:
        if path.stat().st_size == 0:
            log.whole("", "the file is empty", "write the table again, or remove the file")
            return None
        table = READERS[path.suffix](path, wanted, log)
    except OSError as error:
        log.whole("", f"cannot be read ({error.strerror})", "check that it is a file that you may read")
        return None
    return table


# On some damage Polars' reader panics where it should refuse.
_REFUSED = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _read_parquet(path: Path, wanted: Callable[[str], bool], log: FaultLog) -> RawTable | None:
    try:
        names = [name for name in pl.read_parquet_schema(path) if wanted(name)]
    except _REFUSED as error:
        _damaged(error, log)
        return None
    try:
        return RawTable(frame=pl.read_parquet(path, columns=names, glob=False))
    except _REFUSED:
        columns = [column for name in names if (column := _read_parquet_column(path, name, log)) is not None]
    unreadable = frozenset(names) - {column.name for column in columns}
    return RawTable(frame=pl.DataFrame(columns), unreadable=unreadable) if columns else None


def _damaged(error: BaseException, log: FaultLog) -> None:
    reason = str(error).splitlines()[0] if isinstance(error, pl.exceptions.PolarsError) else "its pages do not fit"
    log.whole("", f"truncated or damaged Parquet ({reason})", "write or copy the file again")


def _read_parquet_column(path: Path, name: str, log: FaultLog) -> pl.Series | None:
    try:
        return pl.read_parquet(path, columns=[name], glob=False)[name]
    except _REFUSED as error:
        if "UTF-8" in str(error):
            row = _first_unreadable_row(path, name)
            log.at(name, [row], "text that is not UTF-8, here or in rows stored with it", "write the column as UTF-8")
        else:
            _damaged(error, log)
        return None


def _first_unreadable_row(path: Path, name: str) -> int:
    """Bisect for the first row, counted from 1, that cannot be read; rows with a common dictionary fail together."""
    readable, unreadable = 0, int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    while unreadable - readable > 1:
        middle = (readable + unreadable) // 2
        try:
            pl.read_parquet(path, columns=[name], n_rows=middle, glob=False)
        except _REFUSED:
            unreadable = middle
        else:
            readable = middle
    return unreadable


def _read_csv(path: Path, wanted: Callable[[str], bool], log: FaultLog) -> RawTable | None:
    try:
        frame = pl.read_csv(path, infer_schema=False, glob=False)
    except pl.exceptions.PolarsError:
        frame = _salvage_csv(path.read_bytes(), log)
    return RawTable(frame=frame.select(name for name in frame.columns if wanted(name)), text=True)


def _salvage_csv(data: bytes, log: FaultLog) -> pl.DataFrame:
    """Read the CSV records that can be read; report the others."""
    records = csv.reader(io.StringIO(data.decode("utf-8-sig", errors="surrogateescape"), newline=""))
    header = [_replaced(name) for name in next(records, [])]
    kept: list[list[str]] = []
    numbers: list[int] = []
    ragged: list[int] = []
    wrong: dict[str, list[int]] = {}
    for number, record in enumerate(_until_error((record for record in records if record), log), start=1):
        if len(record) != len(header):
            ragged.append(number)
            continue
        readable = [_replaced(value) for value in record]
        for name, value, said in zip(header, record, readable, strict=True):
            if value != said:
                wrong.setdefault(name, []).append(number)
        kept.append(readable)
        numbers.append(number)
    for name, rows in wrong.items():
        log.at(name, rows, "text that is not UTF-8", _SAVE_UTF8)
    log.at("", ragged, f"not {len(header)} fields as in the header", "quote fields that hold commas, quotes or lines")
    log.numbers = pl.Series(numbers, dtype=pl.Int64)
    columns = zip(header, zip(*kept, strict=True), strict=True) if kept else ((name, ()) for name in header)
    frame = pl.DataFrame({name: pl.Series(values, dtype=pl.String) for name, values in columns})
    return frame.with_columns(pl.col(pl.String).replace("", None))


def _until_error(records: Iterator[list[str]], log: FaultLog) -> Iterator[list[str]]:
    try:
        yield from records
    except csv.Error as error:
        log.whole("", f"cannot be read to its end ({error})", "close every quote")


def _replaced(value: str) -> str:
    """Put the replacement character where bytes could not be decoded."""
    return value.encode(errors="surrogateescape").decode(errors="replace")


def _read_jsonl(path: Path, wanted: Callable[[str], bool], log: FaultLog) -> RawTable | None:
    try:
        frame = pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        good = _salvage_jsonl(path.read_bytes(), log)
        if not good:
            if not log.faults:
                log.whole("", *NO_ROWS)
            return None
        frame = _by_column([json.loads(line) for line in good])
    return RawTable(frame=frame.select(name for name in frame.columns if wanted(name)), json=path)


def _by_column(records: list[dict[str, Any]]) -> pl.DataFrame:
    """Build each column for itself; one whose values have no common type becomes JSON text, and so a wrong type."""
    columns = []
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record.get(name) for record in records]
        lines = "\n".join(json.dumps({name: value}) for value in values)
        try:
            columns.append(pl.read_ndjson(io.StringIO(lines), infer_schema_length=None).to_series())
        except pl.exceptions.PolarsError:
            columns.append(pl.Series(name, [json.dumps(value) for value in values]))
    return pl.DataFrame(columns)


def _salvage_jsonl(data: bytes, log: FaultLog) -> list[bytes]:
    """Return the lines that hold a JSON object in UTF-8; report the others."""
    good: list[bytes] = []
    numbers: list[int] = []
    not_utf8: list[int] = []
    broken: list[int] = []
    for number, line in enumerate(_lines(data.splitlines()), start=1):
        try:
            if isinstance(json.loads(line.decode()), dict):
                good.append(line)
                numbers.append(number)
            else:
                broken.append(number)
        except UnicodeDecodeError:
            not_utf8.append(number)
        except (ValueError, RecursionError):
            broken.append(number)
    log.at("", not_utf8, "text that is not UTF-8", _SAVE_UTF8)
    log.at("", broken, "not a JSON object", "write one whole JSON object per line")
    log.numbers = pl.Series(numbers, dtype=pl.Int64)
    return good


def _lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line in lines if line.strip())


READERS: dict[str, Callable[[Path, Callable[[str], bool], FaultLog], RawTable | None]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}
