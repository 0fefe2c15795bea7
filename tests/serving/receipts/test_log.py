"""The file of receipts: what is kept comes back as it was, and the oldest make room for the newest."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from recsys.errors import StorageError
from recsys.receipt import Receipt
from recsys.schema import Candidate, HistoryEntry, ItemText, RankRequest
from serving.receipt_log import ReceiptLog
from serving.receipt_rows import Run, receipt_of, row_of
from serving.receipt_writer import ReceiptWriter

RNG = np.random.default_rng(0)


def receipt(name: str = "r-1", *, events: int = 3, items: int | None = 0, columns: int = 4, count: int = 2) -> Receipt:
    table = RNG.standard_normal((count, columns)).astype(np.float32)
    table[0, 0] = np.nan
    ids = [f"item-{number}" for number in range(count)]
    return Receipt(
        request=RankRequest(user_id="ann", candidates=tuple(map(candidate, ids)), ts=5, request_id=name),
        time_us=7,
        bundle_id="20260102T030405Z-0123abcd",
        table=table,
        scores=RNG.standard_normal(count),
        order=tuple(ids),
        text_coverage=0.5,
        state_versions={"log": events},
        item_sequence=items,
        items_without_text=("item-1",),
        attended_without_text=("old",),
        degraded=("no_state",),
    )


def candidate(item_id: str) -> Candidate:
    return Candidate(item_id=item_id)


def same(one: Receipt, other: Receipt) -> bool:
    plain = {"table": np.zeros((0, 0), np.float32), "scores": np.zeros(0)}
    return (
        replace(one, **plain).__repr__() == replace(other, **plain).__repr__()
        and one.table.dtype == other.table.dtype
        and np.array_equal(one.table, other.table, equal_nan=True)
        and np.array_equal(one.scores, other.scores)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "receipts.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[ReceiptLog]:
    log = ReceiptLog(path)
    yield log
    log.close()


@given(
    names=st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=4),
    text=st.none() | st.builds(ItemText, title=st.text(max_size=20), tags=st.tuples(st.text(max_size=5))),
    history=st.none() | st.tuples(st.builds(HistoryEntry, item_id=st.just("x"), action=st.just("cart"))) | st.just(()),
    query=st.text(max_size=20),
    top_k=st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_a_row_is_read_as_it_was_written(
    names: list[str], text: ItemText | None, history: Any, query: str, top_k: int
) -> None:
    request = RankRequest(
        user_id="ann",
        candidates=tuple(Candidate(item_id=name, text=text) for name in names),
        ts=5,
        request_id="r",
        history=history,
        query=query,
        top_k=top_k,
    )
    count = len(names)
    written = replace(
        receipt(),
        request=request,
        table=RNG.standard_normal((count, 3)).astype(np.float32),
        scores=RNG.standard_normal(count),
    )
    run, read = receipt_of(row_of(written, 4))

    assert run == 4
    assert same(read, written)


def test_a_request_id_that_occurs_twice_keeps_both(log: ReceiptLog) -> None:
    first, second = receipt(), receipt(events=9)
    log.keep([first])
    log.keep([receipt("else"), second])
    kept = log.named("r-1")

    assert [each.sequence for each in kept] == [1, 3]
    assert same(kept[0].receipt, first)
    assert same(kept[1].receipt, second)


def test_receipts_of_a_run_come_in_the_order_of_what_they_know_pages_at_a_time(log: ReceiptLog) -> None:
    log.begin(Run(bundle_id="20260102T030405Z-0123abcd", snapshot=0, events=1, items=0))
    log.keep([receipt(f"r-{n}", events=(n * 7) % 101, items=n % 2) for n in range(500)])
    log.keep([receipt("amid", items=None), replace(receipt("other"), state_versions={"another": 3})])
    log.begin(Run(bundle_id="20260102T030405Z-0123abcd", snapshot=5, events=6, items=2))
    log.keep([receipt("second run")])
    found = [(each.receipt.state_versions["log"], each.receipt.item_sequence) for each in log.of_run(1, "log")]

    assert found == sorted(found)
    assert len(found) == 500
    assert [each.receipt.request.request_id for each in log.of_run(2, "log")] == ["second run"]
    assert log.beyond("log") == (1, 1)
    assert log.runs() == [
        (1, Run(bundle_id="20260102T030405Z-0123abcd", snapshot=0, events=1, items=0)),
        (2, Run(bundle_id="20260102T030405Z-0123abcd", snapshot=5, events=6, items=2)),
    ]


def test_receipts_of_two_bundles_at_once_are_each_of_their_own_run(log: ReceiptLog) -> None:
    for bundle_id in ("one", "two"):
        log.begin(Run(bundle_id=bundle_id, snapshot=0, events=1, items=0))
    log.keep([replace(receipt(f"r-{bundle_id}"), bundle_id=bundle_id) for bundle_id in ("two", "one", "two")])

    found = [[each.receipt.bundle_id for each in log.of_run(run, "log")] for run in (1, 2)]
    assert found == [["one"], ["two", "two"]]


def test_the_oldest_go_where_there_are_too_many(path: Path) -> None:
    for _ in range(2):  # a second server counts what it finds
        with closing(ReceiptLog(path, most=5)) as log:
            for number in range(7):
                log.keep([receipt(f"r-{number}")])
            assert len(log) == 5
            assert [bool(log.named(f"r-{number}")) for number in range(7)] == [False, False, *[True] * 5]


def test_the_oldest_go_where_they_take_too_much_room(path: Path) -> None:
    with closing(ReceiptLog(path, most_bytes=50_000)) as log:
        log.keep([receipt(f"r-{number}", columns=500) for number in range(40)])
        size = path.stat().st_size + path.with_name("receipts.sqlite-wal").stat().st_size
        assert 5 < len(log) < 15
        assert log.named("r-39")
        for number in range(40, 80):
            log.keep([receipt(f"r-{number}", columns=500)])
        assert 5 < len(log) < 15
        assert path.stat().st_size < size + 200_000


def test_a_file_that_is_something_else_is_left_alone(path: Path) -> None:
    path.write_bytes(b"no database" * 100)

    with pytest.raises(StorageError, match=r"receipts\.sqlite cannot be used .* move the file away"):
        ReceiptLog(path)
    assert path.read_bytes() == b"no database" * 100


def test_a_damaged_receipt_is_named(log: ReceiptLog, path: Path) -> None:
    log.keep([receipt()])
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("UPDATE receipts SET figures = x'00'")

    with pytest.raises(StorageError, match=r"receipt 1 .* is damaged"):
        log.named("r-1")


class Held(ReceiptLog):
    """Writes when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.began, self.go = threading.Event(), threading.Event()

    def keep(self, receipts: Any) -> None:
        self.began.set()
        self.go.wait(30)
        super().keep(receipts)


def test_beyond_what_may_wait_receipts_are_dropped_counted_and_warned_of(path: Path) -> None:
    log = Held(path)
    writer = ReceiptWriter(log, 1.0, waiting=3)
    writer.offer(receipt("first"))
    assert log.began.wait(10)
    with capture_logs() as lines:
        for number in range(8):
            writer.offer(receipt(f"r-{number}"))
    log.go.set()
    writer.close()

    assert writer.dropped == 5
    assert [(line["event"], line["dropped"]) for line in lines] == [
        ("receipts dropped", 1), ("receipts dropped", 2), ("receipts dropped", 4),
    ]  # fmt: skip
    assert len(log) == 4
    log.close()


def test_what_waits_is_written_before_the_end_and_nothing_after_it(path: Path) -> None:
    log = ReceiptLog(path)
    writer = ReceiptWriter(log, 1.0)
    for number in range(250):
        writer.offer(receipt(f"r-{number}"))
    writer.close()
    writer.offer(receipt("late"))

    assert (len(log), writer.dropped) == (250, 1)
    log.close()


def test_receipts_that_cannot_be_written_are_counted(path: Path) -> None:
    log = ReceiptLog(path)
    log.close()
    writer = ReceiptWriter(log, 1.0)
    with capture_logs() as lines:
        writer.offer(receipt())
        writer.close()

    assert writer.dropped == 1
    assert "cannot be used" in lines[0]["reason"]


def test_a_share_of_the_requests_is_wanted(path: Path) -> None:
    with closing(ReceiptLog(path)) as log:
        writer = ReceiptWriter(log, 0.25)
        wanted = [writer.wants(f"request-{number}") for number in range(1_000)]
        assert 200 < sum(wanted) < 300
        assert wanted == [writer.wants(f"request-{number}") for number in range(1_000)]
        writer.close()


class FullDisk:
    """A database on a disk that is full whenever something is to stay."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    def execute(self, statement: str, *given: Any) -> Any:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self._base.execute(statement, *given)


def test_what_a_full_disk_did_not_take_leaves_its_room_to_others(path: Path) -> None:
    log = ReceiptLog(path, most=100)
    log.keep([receipt(f"before-{n}") for n in range(60)])
    whole, log._base = log._base, FullDisk(log._base)
    for _ in range(10):
        with pytest.raises(StorageError):
            log.keep([receipt(f"lost-{n}") for n in range(10)])
    log._base = whole
    log.keep([receipt(f"after-{n}") for n in range(40)])

    assert log.count(0) == len(log) == 100
    log.close()
