"""Reads a dataset's files, and says everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from recsys.dataset.attributes import coerce_attribute
from recsys.dataset.checks import check_events, check_impressions, check_items, check_shown
from recsys.dataset.coerce import coerce
from recsys.dataset.columns import EVENTS, IMPRESSIONS, ITEMS, SHOWN, Column, empty_frame
from recsys.dataset.fault_log import FaultLog
from recsys.dataset.fold import fold, is_long
from recsys.dataset.json_types import report_wrong_types
from recsys.dataset.raw import NO_ROWS, READERS, RawTable, read_raw
from recsys.errors import DatasetError, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Three checked tables with the columns of ``recsys.dataset.columns``.

    ``items`` keeps the order of its file and has its attributes last. ``impressions`` is sorted by (ts, request_id).
    ``events``, sorted by (ts, event_id), has no rows where there are none.
    """

    items: pl.DataFrame
    impressions: pl.DataFrame
    events: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A table as it was found: None where there is nothing to check."""

    raw: RawTable | None
    log: FaultLog


def read_dataset(directory: Path, *, now: datetime | None = None) -> Dataset:
    """Read and check ``items``, ``impressions`` and, where there, ``events`` (.parquet, .csv or .jsonl).

    Raises:
        DatasetError: with everything that is wrong.
    """
    return _accept(*_load(directory, now))


def read_items(path: Path, *, now: datetime | None = None) -> pl.DataFrame:
    """Read and check an item table alone: its file, or the directory that holds it.

    Raises:
        DatasetError: with everything that is wrong.
    """
    directory, name = (path, "items") if path.is_dir() else (path.parent, path.stem)
    source = _open(directory, name, lambda _: True, required=True)
    items = _items(source, now or datetime.now(UTC))
    if items is None or source.log.faults:
        raise DatasetError(source.log.faults)
    return items


def validate(directory: Path, *, now: datetime | None = None) -> list[Fault]:
    """Return everything that is wrong with a dataset's files; nothing is written.

    Args:
        directory: holds the tables.
        now: times after this lie in the future; the clock's time where None.
    """
    return _load(directory, now)[1]


def build_dataset(
    items: pl.DataFrame, impressions: pl.DataFrame, events: pl.DataFrame | None = None, *, now: datetime | None = None
) -> Dataset:
    """Check tables made in memory as strictly as if they had been read.

    Raises:
        DatasetError: with everything that is wrong.
    """
    frames = {"items": items, "impressions": impressions, "events": events}
    sources = {
        name: _Source(raw=None if frame is None else RawTable(frame=frame), log=FaultLog(file=name))
        for name, frame in frames.items()
    }
    return _accept(*_assemble(sources, now or datetime.now(UTC)))


def _accept(dataset: Dataset | None, faults: list[Fault]) -> Dataset:
    if dataset is None:
        raise DatasetError(faults)
    return dataset


def _load(directory: Path, now: datetime | None) -> tuple[Dataset | None, list[Fault]]:
    if not directory.is_dir():
        remedy = "name the directory that holds items.parquet and impressions.parquet"
        return None, [Fault(file=str(directory), column="", row=0, problem="no such directory", remedy=remedy)]
    listed = {column.name for column in (*IMPRESSIONS, *SHOWN)}
    sources = {
        "items": _open(directory, "items", lambda _: True, required=True),
        "impressions": _open(directory, "impressions", listed.__contains__, required=True),
        "events": _open(directory, "events", {column.name for column in EVENTS}.__contains__, required=False),
    }
    return _assemble(sources, now or datetime.now(UTC))


def _open(directory: Path, table: str, wanted: Callable[[str], bool], *, required: bool) -> _Source:
    found = [path for suffix in READERS if (path := directory / f"{table}{suffix}").exists()]
    if not found:
        log = FaultLog(file=f"{table}.parquet")
        if required:
            log.whole("", "missing file", f"write {' or '.join(table + suffix for suffix in READERS)}")
        return _Source(raw=None, log=log)
    log = FaultLog(file=found[0].name)
    if len(found) > 1:
        log.whole("", f"{found[1].name} holds the same table", "keep one of them")
    return _Source(raw=read_raw(found[0], wanted, log), log=log)


def _assemble(sources: dict[str, _Source], now: datetime) -> tuple[Dataset | None, list[Fault]]:
    items = _items(sources["items"], now)
    known = items["item_id"].drop_nulls().unique() if items is not None and "item_id" in items.columns else None
    impressions = _impressions(sources["impressions"], known, now)
    events = _events(sources["events"], known, now)
    faults = [fault for source in sources.values() for fault in source.log.faults]
    if faults or items is None or impressions is None:
        return None, faults
    return Dataset(items=items, impressions=impressions, events=events), []


def _items(source: _Source, now: datetime) -> pl.DataFrame | None:
    if source.raw is None:
        return None
    items = conform(source.raw, ITEMS, source.log, now)
    declared = {column.name for column in ITEMS}
    extra = [series for series in source.raw.frame.iter_columns() if series.name not in declared]
    attributes = [coerce_attribute(series, source.log, text=source.raw.text) for series in extra]
    check_items(items, source.log)
    return items.with_columns(series for series in attributes if series is not None)


def _impressions(source: _Source, known: pl.Series | None, now: datetime) -> pl.DataFrame | None:
    if source.raw is None:
        return None
    long = is_long(source.raw.frame.columns)
    frame = conform(source.raw, SHOWN if long else IMPRESSIONS, source.log, now)
    if frame.is_empty():
        return None
    (check_shown if long else check_impressions)(frame, known, source.log)
    if source.log.faults:
        return None
    lists = fold(frame) if long else frame
    return lists.select(column.name for column in IMPRESSIONS).sort("ts", "request_id")


def _events(source: _Source, known: pl.Series | None, now: datetime) -> pl.DataFrame:
    if source.raw is None or (source.raw.frame.is_empty() and source.raw.frame.columns):
        return empty_frame(EVENTS)
    events = conform(source.raw, EVENTS, source.log, now)
    check_events(events, known, source.log)
    return events if source.log.faults else events.sort("ts", "event_id")


def conform(raw: RawTable, columns: tuple[Column, ...], log: FaultLog, now: datetime) -> pl.DataFrame:
    """Give every declared column its dtype and default; a column that is missing or wrong as a whole is left out."""
    if raw.frame.is_empty() and not log.faults:
        log.whole("", *NO_ROWS)
    reported = raw.unreadable if raw.json is None else report_wrong_types(raw.json, columns, log)
    conformed: list[pl.Series | None] = []
    for column in columns:
        if column.name in reported:
            continue
        if column.name in raw.frame.columns:
            conformed.append(coerce(raw.frame[column.name], column, log, text=raw.text, now=now))
        elif column.required:
            log.whole(column.name, "missing column", f"add it: {column.says}")
        else:
            conformed.append(_absent(column, raw.frame.height))
    return pl.DataFrame([series for series in conformed if series is not None])


def _absent(column: Column, height: int) -> pl.Series:
    default = list(column.default) if isinstance(column.default, tuple) else column.default
    return pl.Series(column.name, [default], dtype=column.dtype).new_from_index(0, height)
