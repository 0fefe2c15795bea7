"""RankLens: movies with their texts and real rankings with real clicks, in its event-stream form.

One JSON object per line: ``item`` (fields by name), ``ranking`` (the list as shown) and ``interaction`` (a click, with
the ranking's id); times are milliseconds in strings. Of every user with more than one ranking, the last is the test
list.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from recsys.dataset import Dataset, build_dataset, refuse_existing, write_dataset
from training.importers.source import find_file, refuse

_EVENTS_FILE = "events.jsonl.gz"
_FIGURES = ("popularity", "vote_avg", "vote_cnt", "budget", "runtime")
_UNKNOWN_IF_ZERO = ("budget", "runtime")  # TMDB writes 0 where it has no figure
_Schema = dict[str, pl.DataType | type[pl.DataType]]
_ITEM_SCHEMA: _Schema = {
    "item_id": pl.String,
    "title": pl.String,
    "description": pl.String,
    "category": pl.String,
    "tags": pl.List(pl.String),
    "published_at": pl.Int64,
    **dict.fromkeys(_FIGURES, pl.Float64),
    "genres": pl.List(pl.String),
    "actors": pl.List(pl.String),
    "director": pl.String,
    "writer": pl.String,
}


@dataclass(slots=True, kw_only=True)
class _Events:
    """The stream, taken apart by kind of event."""

    items: list[dict[str, Any]] = field(default_factory=list)
    rankings: list[dict[str, Any]] = field(default_factory=list)
    clicks: set[tuple[str, str]] = field(default_factory=set)


def import_ranklens(source: Path, out: Path) -> Dataset:
    """Turn RankLens into our tables and write them.

    A shown item without metadata stays in its list, so that lists keep their length and order; its title is its id.
    The genres, joined by commas, are the category, and a list attribute as well.

    Args:
        source: ``events.jsonl.gz`` (or the same unpacked), or its folder.
        out: the new dataset's directory.

    Raises:
        DatasetError: the source is missing or malformed, or ``out`` exists.
    """
    refuse_existing(out)
    path = find_file(source, _EVENTS_FILE) if source.is_dir() or not source.exists() else source
    events = _read(path)
    dataset = build_dataset(_items(events), _impressions(events))
    write_dataset(dataset, out)
    return dataset


def _read(path: Path) -> _Events:
    events = _Events()
    for number, line in _lines(path):
        try:
            event = json.loads(line)
            _sort_in(event, events)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            refuse(path, f"not a RankLens event ({error!r})", "fetch the published file again", row=number)
    return events


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            yield from enumerate(file, start=1)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        refuse(path, f"cannot be read ({error})", "fetch the published file again")


def _sort_in(event: dict[str, Any], events: _Events) -> None:
    kind = event["event"]
    if kind == "item":
        events.items.append(_item(event))
    elif kind == "ranking":
        events.rankings.append(_ranking(event))
    elif kind == "interaction" and event["type"] == "click":
        events.clicks.add((event["ranking"], event["item"]))


def _item(event: dict[str, Any]) -> dict[str, Any]:
    fields = {entry["name"]: entry["value"] for entry in event["fields"]}
    figures = {name: fields.get(name) for name in _FIGURES}
    released = fields.get("release_date")
    return {
        **figures,
        **{name: figures[name] or None for name in _UNKNOWN_IF_ZERO},
        "item_id": event["item"],
        "title": fields["title"],
        "description": fields.get("description", ""),
        "category": ", ".join(fields.get("genres", [])),
        "tags": fields.get("tags", []),
        "published_at": None if released is None else int(released) * 1_000_000,
        "genres": fields.get("genres", []),
        "actors": fields.get("actors", []),
        "director": fields.get("director"),
        "writer": fields.get("writer"),
    }


def _ranking(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": event["id"],
        "user_id": event["user"],
        "ts": int(event["timestamp"]) * 1_000,
        "item_ids": [entry["id"] for entry in event["items"]],
    }


def _items(events: _Events) -> pl.DataFrame:
    described = {item["item_id"] for item in events.items}
    shown = dict.fromkeys(item_id for ranking in events.rankings for item_id in ranking["item_ids"])
    placeholders = [{"item_id": item_id, "title": item_id} for item_id in shown if item_id not in described]
    items = pl.DataFrame([*events.items, *placeholders], schema=_ITEM_SCHEMA, orient="row")
    released = pl.from_epoch("published_at", time_unit="us").dt.replace_time_zone("UTC")
    return items.with_columns(published_at=released, release_year=released.dt.year().cast(pl.Int64))


def _impressions(events: _Events) -> pl.DataFrame:
    clicked = [
        [(ranking["request_id"], item) in events.clicks for item in ranking["item_ids"]] for ranking in events.rankings
    ]
    schema: _Schema = {"request_id": pl.String, "user_id": pl.String, "ts": pl.Int64, "item_ids": pl.List(pl.String)}
    lists = pl.DataFrame(events.rankings, schema=schema, orient="row").with_columns(
        pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC"),
        clicked=pl.Series(clicked, dtype=pl.List(pl.Boolean)),
    )
    in_time = lists.sort("ts", maintain_order=True)
    is_test = (pl.int_range(pl.len()) == pl.len() - 1) & (pl.len() > 1)
    split = pl.when(is_test.over("user_id")).then(pl.lit("test")).otherwise(pl.lit("train"))
    return in_time.with_columns(split=split)
