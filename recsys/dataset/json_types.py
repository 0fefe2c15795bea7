"""Checks the type of every value in a JSONL file, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from recsys.dataset.columns import Column, Kind
from recsys.dataset.fault_log import FaultLog


def _flag(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))


def _text(value: object) -> bool:
    return isinstance(value, str)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, float) or _whole(value)


def _time(value: object) -> bool:
    return isinstance(value, str) or _whole(value)


def _list_of(accepts: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(entry is None or accepts(entry) for entry in value)


_ACCEPTS: dict[Kind, Callable[[object], bool]] = {
    Kind.ID: _text,
    Kind.TEXT: _text,
    Kind.SPLIT: _text,
    Kind.TAGS: _list_of(_text),
    Kind.IDS: _list_of(_text),
    Kind.FLAGS: _list_of(_flag),
    Kind.FLAG: _flag,
    Kind.TIME: _time,
    Kind.DAY: _time,
    Kind.NUMBER: _number,
    Kind.PLACE: _whole,
}


def report_wrong_types(path: Path, columns: Sequence[Column], log: FaultLog) -> frozenset[str]:
    """Report every value of these columns that is of the wrong type; returns the columns that have any.

    Reading alone would not show them: where texts and numbers meet in a column, all become text.
    """
    checks = [(column.name, _ACCEPTS[column.kind]) for column in columns]
    wrong: dict[str, list[tuple[int, object]]] = {}
    with path.open("rb") as file:
        for number, line in enumerate((line for line in file if line.strip()), start=1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # reported when it was read
                continue
            if isinstance(record, dict):
                for name, accepts in checks:
                    value = record.get(name)
                    if value is not None and not accepts(value):
                        wrong.setdefault(name, []).append((number, value))
    for column in columns:
        if found := wrong.get(column.name):
            rows, values = zip(*found, strict=True)
            log.at(column.name, list(rows), "wrong type", f"make every value {column.kind}", list(values))
    return frozenset(wrong)
