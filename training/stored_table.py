"""An input table of any length, checked from end to end before it is used, then read part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from recsys.dataset.checks import check_impressions, check_items
from recsys.dataset.columns import IMPRESSIONS, ITEMS, Column, Kind
from recsys.dataset.fault_log import FaultLog
from recsys.dataset.json_types import report_wrong_types
from recsys.dataset.raw import NO_ROWS, READERS, RawTable, read_raw
from recsys.dataset.reading import conform
from recsys.errors import ConfigError, DatasetError, Fault
from recsys.files import whole_file
from recsys.schema import MAX_ID_BYTES

# Requests may be stored ahead of their time, as they may be sent.
_ANY_TIME = datetime(2199, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Which columns a table must or may have, and what must hold between the values of one part of it."""

    columns: tuple[Column, ...]
    check: Callable[[pl.DataFrame, FaultLog], None]


def _check_requests(lists: pl.DataFrame, log: FaultLog) -> None:
    """Check what holds for lists that were shown; items may be unknown, as in a request, but their ids must fit one."""
    check_impressions(lists, None, log)
    for name in (name for name in ("item_ids", "history") if name in lists.columns):
        too_long = lists[name].list.eval(pl.element().str.len_bytes() > MAX_ID_BYTES).list.any()
        log.rows(name, too_long, f"id longer than {MAX_ID_BYTES} bytes in the list", "use shorter ids", lists[name])


def _named(columns: tuple[Column, ...], names: str) -> tuple[Column, ...]:
    return tuple(column for column in columns if column.name in names.split())


def item_form(attributes: Mapping[str, pl.DataType]) -> Form:
    """Return the form of items as a model reads them, which learned from these texts and lists of texts, too."""
    kinds = {name: Kind.TAGS if isinstance(dtype, pl.List) else Kind.TEXT for name, dtype in attributes.items()}
    words = tuple(
        Column(name=name, kind=kind, default=() if kind is Kind.TAGS else "", says="an attribute that the model reads")
        for name, kind in kinds.items()
    )
    return Form(columns=(*_named(ITEMS, "item_id title description category tags"), *words), check=check_items)


REQUESTS = Form(
    columns=_named(IMPRESSIONS, "request_id user_id ts item_ids history query surface"), check=_check_requests
)


class StoredTable:
    """A table on disk, ``rows`` long, that is read in parts; ``part`` gives them in the form's columns and dtypes."""

    def __init__(self, path: Path, form: Form, *, name: str, text: bool) -> None:
        self._path, self._form, self._name, self._text = path, form, name, text
        scan = pl.scan_parquet(path, glob=False)
        present = scan.collect_schema().names()
        self._scan = scan.select(column.name for column in form.columns if column.name in present)
        self.rows = int(scan.select(pl.len()).collect().item())

    def part(self, start: int, count: int) -> pl.DataFrame:
        """Read rows ``start`` to ``start + count``.

        Raises:
            DatasetError: something is wrong with them; says all of it.
        """
        log = FaultLog(file=self._name)
        frame = self._conformed(start, count, log)
        if log.faults:
            raise DatasetError(log.faults)
        return frame

    def check(self, size: int) -> None:
        """Read the whole table in parts of ``size`` rows.

        Raises:
            DatasetError: something is wrong; says all of it, with rows counted over the whole file.
        """
        log = FaultLog(file=self._name)
        if self.rows == 0:
            log.whole("", *NO_ROWS)
        for start in range(0, self.rows, size):
            self._conformed(start, size, log)
        if log.faults:
            raise DatasetError(list(dict.fromkeys(log.faults)))  # a missing column is missing in every part

    def _conformed(self, start: int, count: int, log: FaultLog) -> pl.DataFrame:
        try:
            raw = self._scan.slice(start, count).collect(engine="streaming")
        except pl.exceptions.PolarsError as error:
            rows = f"rows {start + 1:,} to {min(start + count, self.rows):,} cannot be read"
            log.whole("", f"{rows} ({_reason(error)})", "write or copy the file again, as UTF-8")
            return pl.DataFrame()
        log.numbers = pl.int_range(start + 1, start + raw.height + 1, eager=True)
        frame = conform(RawTable(frame=raw, text=self._text), self._form.columns, log, _ANY_TIME)
        self._form.check(frame, log)
        return frame


@contextmanager
def open_table(path: Path, form: Form, scratch: Path) -> Iterator[StoredTable]:
    """Open a table for reading in parts; CSV and JSONL are rewritten as Parquet in ``scratch`` while the block runs.

    Raises:
        DatasetError: the file cannot be read.
        ConfigError: its name ends otherwise than a table's.
    """
    if path.suffix not in READERS:
        raise ConfigError(f"{path} is no table by its name; give a file that ends in {', '.join(READERS)}")
    if path.stat().st_size == 0:
        raise DatasetError(_why_unreadable(path, form, EOFError("the file is empty")))
    if path.suffix == ".parquet":
        try:
            table = StoredTable(path, form, name=path.name, text=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DatasetError(_why_unreadable(path, form, error)) from error
        yield table
        return
    ours = not scratch.parent.exists()
    try:
        _to_parquet(path, form, scratch)
        yield StoredTable(scratch, form, name=path.name, text=path.suffix == ".csv")
    finally:
        scratch.unlink(missing_ok=True)
        if ours and scratch.parent.exists() and not any(scratch.parent.iterdir()):
            scratch.parent.rmdir()


def _to_parquet(path: Path, form: Form, target: Path) -> None:
    """Stream a CSV or JSONL table to Parquet: its values are not changed, but parts can then be found at once."""
    names = [column.name for column in form.columns]
    try:
        if path.suffix == ".csv":
            scan = pl.scan_csv(path, infer_schema=False, glob=False)
            scan = scan.select(name for name in scan.collect_schema().names() if name in names)
        else:
            log = FaultLog(file=path.name)
            report_wrong_types(path, form.columns, log)
            if log.faults:
                raise DatasetError(log.faults)
            lists = pl.List(pl.String)
            schema = {column.name: lists if column.dtype == lists else pl.String() for column in form.columns}
            scan = pl.scan_ndjson(path, schema=schema)
        with whole_file(target) as temporary:
            scan.sink_parquet(temporary, row_group_size=50_000, compression="lz4", statistics=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DatasetError(_why_unreadable(path, form, error)) from error


def _why_unreadable(path: Path, form: Form, error: Exception) -> list[Fault]:
    """Say which records cannot be read; only such a file is read into memory as a whole."""
    log = FaultLog(file=path.name)
    read_raw(path, {column.name for column in form.columns}.__contains__, log)
    if not log.faults:
        log.whole("", f"cannot be read ({_reason(error)})", "write or copy the file again, as UTF-8")
    return log.faults


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
