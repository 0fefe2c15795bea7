"""RankLens's event stream becomes items with attributes and lists with the protocol's test lists marked."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.dataset import read_dataset
from recsys.errors import DatasetError
from training.importers import import_ranklens

REAL = Path("../shared/data/ranklens")

_FIELDS = {
    "title": "Grumpier Old Men",
    "popularity": 9.992,
    "vote_avg": 6.5,
    "vote_cnt": 269.0,
    "budget": 0.0,
    "runtime": 101.0,
    "release_date": 819590400.0,
    "genres": ["romance", "comedy"],
    "tags": ["fishing", "sequel"],
    "actors": ["daryl hannah"],
    "description": "A feud between next-door neighbors.",
    "director": "howard deutch",
}


def item(item_id: str, **fields: Any) -> dict[str, Any]:
    named = [{"name": name, "value": value} for name, value in {**_FIELDS, **fields}.items()]
    return {"event": "item", "fields": named, "id": f"e{item_id}", "item": item_id, "timestamp": "1636907100000"}


def ranking(name: str, user: str, second: int, *items: str) -> dict[str, Any]:
    shown = [{"fields": [{"name": "relevancy", "value": 0.0}], "id": entry} for entry in items]
    time = str(1636993834000 + second * 1000)
    return {
        "event": "ranking",
        "fields": [],
        "id": name,
        "items": shown,
        "session": user,
        "timestamp": time,
        "user": user,
    }


def click(ranking_id: str, item_id: str) -> dict[str, Any]:
    return {
        "event": "interaction",
        "fields": [],
        "id": "i",
        "item": item_id,
        "ranking": ranking_id,
        "session": "s",
        "timestamp": "1636993839000",
        "type": "click",
        "user": "u",
    }


EVENTS = [
    item("3", writer="mark steven johnson"),
    item("8", title="Tom and Huck", genres=["family"]),
    ranking("r3", "ann", 30, "3", "8"),
    ranking("r1", "ann", 10, "8", "52"),
    ranking("r2", "bob", 20, "8", "3"),
    click("r1", "8"),
    click("r3", "8"),
    click("r3", "3"),
]


def save(folder: Path, events: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    with gzip.open(folder / "events.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return folder


def test_items_keep_their_texts_and_figures(tmp_path: Path) -> None:
    items = import_ranklens(save(tmp_path / "source", EVENTS), tmp_path / "out").items

    assert items.row(0, named=True) == {
        "item_id": "3",
        "title": "Grumpier Old Men",
        "description": "A feud between next-door neighbors.",
        "category": "romance, comedy",
        "tags": ["fishing", "sequel"],
        "published_at": datetime(1995, 12, 22, tzinfo=UTC),
        "popularity": 9.992,
        "vote_avg": 6.5,
        "vote_cnt": 269.0,
        "budget": None,
        "runtime": 101.0,
        "genres": ["romance", "comedy"],
        "actors": ["daryl hannah"],
        "director": "howard deutch",
        "writer": "mark steven johnson",
        "release_year": 1995,
    }


def test_an_item_without_metadata_is_called_by_its_id_and_stays_in_its_list(tmp_path: Path) -> None:
    dataset = import_ranklens(save(tmp_path / "source", EVENTS), tmp_path / "out")

    assert dataset.items.filter(pl.col("item_id") == "52")["title"].to_list() == ["52"]
    assert dataset.impressions["item_ids"].to_list()[0] == ["8", "52"]


def test_lists_are_in_time_order_with_clicks_and_the_last_of_several_is_the_test(tmp_path: Path) -> None:
    import_ranklens(save(tmp_path / "source", EVENTS) / "events.jsonl.gz", tmp_path / "out")
    lists = read_dataset(tmp_path / "out").impressions

    assert lists["request_id"].to_list() == ["r1", "r2", "r3"]
    assert lists["clicked"].to_list() == [[True, False], [False, False], [True, True]]
    assert lists["split"].to_list() == ["train", "train", "test"]
    assert lists["ts"][0] == datetime(2021, 11, 15, 16, 30, 44, tzinfo=UTC)


def packed(data: bytes) -> bytes:
    """Pack without the time: a test is named by its parameters, and processes that share tests compare names."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "cannot be read"),
        (packed(b'{"event": "item"}\n'), r"row 1: not a RankLens event \(KeyError"),
        (packed(b"[]\n"), r"row 1: not a RankLens event \(TypeError"),
        (packed(b"{\n"), "row 1: not a RankLens event"),
        (packed(b"\xff\n"), "cannot be read"),
        (packed(b'{"event": "item"}\n' * 99)[:-20], "cannot be read|not a RankLens event"),
        (packed(b""), "items: no rows"),
    ],
)
def test_a_malformed_source_is_refused_and_nothing_is_written(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "events.jsonl.gz").write_bytes(content)

    with pytest.raises(DatasetError, match=message):
        import_ranklens(tmp_path, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl.gz"]


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"events\.jsonl\.gz: missing file; name the folder that holds"):
        import_ranklens(tmp_path / "nowhere", tmp_path / "out")


def test_an_existing_dataset_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(DatasetError, match="exists already"):
        import_ranklens(save(tmp_path / "source", EVENTS), tmp_path / "out")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the RankLens data is not at {REAL}")
def test_the_published_file_has_the_figures_of_its_protocol(tmp_path: Path) -> None:
    dataset = import_ranklens(REAL, tmp_path / "out")
    items, lists = dataset.items, dataset.impressions
    clicks = pl.col("clicked").list.sum()
    test = lists.filter(pl.col("split") == "test")

    assert items.height == 2_512 + 8
    assert items.filter(pl.col("title") == pl.col("item_id"), pl.col("genres").is_null()).height == 8
    assert lists.height == 9_800
    assert lists["user_id"].n_unique() == 2_145
    assert lists.select(clicks).sum().item() == 46_125
    assert lists["item_ids"].list.len().unique().to_list() == [24]
    assert test.filter(clicks > 0, clicks < 24).height == 1_812
