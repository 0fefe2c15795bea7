"""Item changes are on disk before they count, in order, and can be told again up to any of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from structlog.testing import capture_logs

from recsys.errors import StorageError
from serving.item_log import ItemLog
from serving.item_replay import replay_items

KETTLE = {"item_id": "kettle", "title": "A kettle", "tags": ["tea"], "price": 12.5, "signed": True, "pages": None,
          "published_at": datetime(1969, 5, 1, tzinfo=UTC)}  # fmt: skip
KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
from serving.item_log import ItemLog
log = ItemLog(Path(sys.argv[1]))
for n in range(50):
    log.upserted(pl.DataFrame({"item_id": [f"item-{n}"], "title": ["A"]}))
    print(n, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ItemLog]:
    log = ItemLog(tmp_path / "items.sqlite")
    yield log
    log.close()


@pytest.fixture
def model(length_model: Any) -> Any:
    return length_model.LengthModel()


def items(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows))


def titles(log: ItemLog, sequence: int) -> list[tuple[int, str, str | None]]:
    return [
        (change.sequence, change.item_id, change.columns and change.columns["title"]) for change in log.as_of(sequence)
    ]


def test_changes_are_told_again_up_to_any_of_them(log: ItemLog) -> None:
    assert log.sequence == 0
    assert log.upserted(items({"item_id": "a", "title": "A"}, {"item_id": "b", "title": "B"})) == 2
    assert log.deleted(["a"]) == 3
    assert log.upserted(items({"item_id": "a", "title": "C"})) == 4

    assert titles(log, 3) == [(1, "a", "A"), (2, "b", "B"), (3, "a", None)]
    assert titles(log, 9) == [(1, "a", "A"), (2, "b", "B"), (3, "a", None), (4, "a", "C")]
    assert titles(log, 0) == []
    assert [(change.sequence, change.item_id) for change in log.current()] == [(2, "b"), (4, "a")]
    assert log.sequence == 4


def test_every_column_comes_back(log: ItemLog) -> None:
    log.upserted(items(KETTLE))
    (change,) = log.current()

    assert change.columns == {
        "title": "A kettle", "tags": ["tea"], "price": 12.5, "signed": True, "pages": None,
        "published_at": -21_168_000_000_000,
    }  # fmt: skip
    assert change.recorded_us > 1_700_000_000_000_000


def test_more_changes_than_are_read_at_once_come_in_order(log: ItemLog) -> None:
    log.upserted(pl.DataFrame({"item_id": [f"{n}" for n in range(2_500)], "title": ["A"] * 2_500}))

    assert [change.sequence for change in log.as_of(2_400)] == list(range(1, 2_401))
    assert [change.sequence for change in log.current()] == list(range(1, 2_501))


@pytest.mark.parametrize("item_id", ["日本語", "a\u0301", "\0", "a\0b", "'; DROP TABLE items; --", " "])
def test_ids_come_back_byte_for_byte(log: ItemLog, item_id: str) -> None:
    log.upserted(items({"item_id": item_id, "title": item_id}))
    log.deleted([item_id + "x"])

    assert [(change.item_id, change.columns) for change in log.current()] == [
        (item_id, {"title": item_id}),
        (item_id + "x", None),
    ]


def test_what_was_confirmed_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    confirmed = [f"item-{n}" for n in done.stdout.split()]
    log = ItemLog(path)

    assert [change.item_id for change in log.current()] == confirmed
    assert len(confirmed) == 50
    log.close()


def test_threads_may_write_at_once(log: ItemLog) -> None:
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda n: log.deleted([f"item-{n}"]), range(100)))

    assert sorted(numbers) == list(range(1, 101))


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    path.write_bytes(b"no database" * 100)

    with pytest.raises(StorageError, match=r"item log .*items\.sqlite cannot be used .* restore the file"):
        ItemLog(path)
    assert path.read_bytes() == b"no database" * 100


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    log = ItemLog(tmp_path / "items.sqlite")
    log.close()

    with pytest.raises(StorageError, match="cannot be used"):
        log.deleted(["a"])


def test_a_log_can_be_kept_in_memory() -> None:
    log = ItemLog(None)
    log.deleted(["a"])

    assert log.sequence == 1
    log.close()


def test_a_model_is_brought_to_where_the_log_is(log: ItemLog, model: Any) -> None:
    full = {"description": "", "category": "kitchen", "brand": "Vinn", "colours": ["red", "blue"]}
    log.upserted(items({**KETTLE, **full}, {"item_id": "gone", "title": "Gone"}))
    log.deleted(["gone"])
    model.upsert(items({"item_id": "bundle", "title": "Of the bundle"}, {"item_id": "gone", "title": "Gone"}))
    replay_items(log, model)

    assert model.catalog.rows(["bundle", "gone"]).tolist() == [0, -1]
    (row,) = model.catalog.rows(["kettle"]).tolist()
    assert model.catalog.items.row(row, named=True) == {**KETTLE, **full}
    assert log.sequence == 3


def test_columns_that_another_bundle_lacks_are_left_out_and_named(log: ItemLog, model: Any) -> None:
    log.upserted(items({**KETTLE, "weight": 3.0, "pages": "many", "brand": 7}))
    with capture_logs() as lines:
        replay_items(log, model)

    assert [(line["event"], line["columns"]) for line in lines] == [
        ("item columns left out", ["brand", "pages", "weight"])
    ]
    (row,) = model.catalog.rows(["kettle"]).tolist()
    assert model.catalog.items.row(row, named=True)["price"] == 12.5
    assert model.catalog.items.row(row, named=True)["brand"] is None


def test_an_item_that_is_refused_does_not_keep_the_others_out(log: ItemLog, model: Any) -> None:
    log.upserted(items({"item_id": "bad", "title": ""}, {"item_id": "good", "title": "Good"}))
    with capture_logs() as lines:
        replay_items(log, model)

    assert [(line["event"], line["sequence"]) for line in lines] == [("item change left out", 1)]
    assert model.catalog.rows(["bad", "good"]).tolist() == [-1, 0]
