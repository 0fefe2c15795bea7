"""Finds the JSONL rows whose value is of the wrong type, once a column as a whole has turned out to be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from recsys.dataset.columns import Kind


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


def rows_of_wrong_type(path: Path, name: str, kind: Kind) -> list[tuple[int, object]]:
    """Return (row counted from 1, value) wherever the file holds something else than ``kind`` under ``name``."""
    wrong: list[tuple[int, object]] = []
    with path.open("rb") as file:
        for number, line in enumerate((line for line in file if line.strip()), start=1):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            value = record.get(name) if isinstance(record, dict) else None
            if value is not None and not _ACCEPTS[kind](value):
                wrong.append((number, value))
    return wrong
