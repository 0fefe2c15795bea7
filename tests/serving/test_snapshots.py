"""What a server has learned is written down while it serves, so that a kill costs little."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from recsys.events import Impression
from recsys.pipeline import RankingPipeline
from serving.data_directory import DataDirectory
from serving.restore import restore_state
from serving.snapshots import Snapshots


def shown(number: int) -> Impression:
    now = time.time_ns() // 1_000
    return Impression(event_id=f"e{number}", request_id=f"r{number}", user_id="ann", ts=now, item_ids=("one", "two"))


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def model(tiny_bundle: Path) -> Iterator[RankingPipeline]:
    with closing(RankingPipeline.load(tiny_bundle)) as pipeline:
        yield pipeline


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataDirectory]:
    with closing(DataDirectory(tmp_path, late_window_s=3_600)) as opened:
        yield opened


@pytest.fixture
def happen(model: RankingPipeline, data: DataDirectory) -> Callable[[int], None]:
    """Record and learn an event, as a server does."""

    def record(number: int) -> None:
        told = data.event_log.append([shown(number)], now_us=time.time_ns() // 1_000).told
        model.learn(told)

    return record


def known(data: DataDirectory, tiny_bundle: Path) -> int:
    """Return up to where a fresh model would know the log by the snapshot that lies there."""
    return restore_state(RankingPipeline.load(tiny_bundle), data).snapshot


def test_what_is_learned_while_a_server_serves_is_written_again_and_again(
    model: RankingPipeline, data: DataDirectory, happen: Callable[[int], None], tiny_bundle: Path
) -> None:
    model.follow(data.event_log.name, 0)
    snapshots = Snapshots(model, data, known=0, every_s=0.01)
    snapshots.start()
    for number in (1, 2):
        happen(number)
        wait_until(
            lambda: (found := data.snapshot(model.bundle_id)).exists() and found.read_bytes() == model.snapshot()
        )
        assert known(data, tiny_bundle) == number
    snapshots.close(last=False)


def test_events_that_a_start_had_to_read_again_are_written_at_once(
    model: RankingPipeline, data: DataDirectory, tiny_bundle: Path
) -> None:
    data.event_log.append([shown(1)], now_us=time.time_ns() // 1_000)
    run = restore_state(model, data)
    snapshots = Snapshots(model, data, known=run.snapshot, every_s=3_600)
    snapshots.start()
    wait_until(data.snapshot(model.bundle_id).exists)
    snapshots.close(last=False)

    assert (run.snapshot, known(data, tiny_bundle)) == (0, 1)


class Asked(RankingPipeline):
    """Counts how often it is asked what it knows."""

    times = 0

    @property
    def state_versions(self) -> Mapping[str, int]:
        self.times += 1
        return super().state_versions


def test_without_news_nothing_is_written(tiny_bundle: Path, data: DataDirectory) -> None:
    with closing(Asked.load(tiny_bundle)) as model:
        model.follow(data.event_log.name, 7)
        snapshots = Snapshots(model, data, known=7, every_s=0.01)
        snapshots.start()
        wait_until(lambda: model.times > 3)
        assert not data.snapshot(model.bundle_id).exists()

        model.follow(data.event_log.name, 8)
        wait_until(data.snapshot(model.bundle_id).exists)
        snapshots.close(last=False)


def test_a_disk_that_refuses_is_logged_and_tried_again(
    model: RankingPipeline,
    data: DataDirectory,
    happen: Callable[[int], None],
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A logger that was used while a whole server ran in this process writes to that server's log for ever.
    monkeypatch.setattr("serving.snapshots._log", structlog.get_logger())
    model.follow(data.event_log.name, 0)
    in_the_way = data.snapshot(model.bundle_id)
    in_the_way.mkdir()
    happen(1)
    snapshots = Snapshots(model, data, known=0, every_s=0.01)
    with capture_logs() as logged:
        snapshots.start()
        wait_until(lambda: any(line["event"] == "snapshot not written" for line in logged))
        in_the_way.rmdir()
        wait_until(in_the_way.is_file)
    snapshots.close(last=True)

    assert known(data, tiny_bundle) == 1


def test_the_last_snapshot_knows_everything_and_takes_the_place_of_other_bundles(
    model: RankingPipeline, data: DataDirectory, happen: Callable[[int], None], tiny_bundle: Path
) -> None:
    older = data.snapshot("an-older-bundle")
    older.write_bytes(b"what it had learned")
    model.follow(data.event_log.name, 0)
    happen(1)
    snapshots = Snapshots(model, data, known=0, every_s=3_600)
    snapshots.start()
    wait_until(data.snapshot(model.bundle_id).exists)
    happen(2)
    snapshots.close(last=True)

    assert known(data, tiny_bundle) == 2
    assert not older.exists()


def test_what_a_kill_left_of_a_snapshot_is_removed(model: RankingPipeline, data: DataDirectory) -> None:
    written = data.snapshot(model.bundle_id)
    begun = written.with_name(f".{written.name}.tmp-0123")
    begun.write_bytes(b"half")
    restore_state(model, data)

    assert not begun.exists()


def test_a_damaged_snapshot_is_left_out_and_the_whole_log_is_read(
    model: RankingPipeline, data: DataDirectory, tiny_bundle: Path
) -> None:
    data.event_log.append([shown(1), shown(2)], now_us=time.time_ns() // 1_000)
    restore_state(model, data)
    data.snapshot(model.bundle_id).write_bytes(model.snapshot()[:-8])
    again = RankingPipeline.load(tiny_bundle)
    run = restore_state(again, data)

    assert (run.snapshot, run.events) == (0, 2)
    assert again.snapshot() == model.snapshot()


def test_a_snapshot_that_knows_more_than_the_log_is_left_out(
    model: RankingPipeline, data: DataDirectory, happen: Callable[[int], None], tiny_bundle: Path
) -> None:
    model.follow(data.event_log.name, 0)
    happen(1)
    fresh = RankingPipeline.load(tiny_bundle)

    assert fresh.recall(model.snapshot(), data.event_log.name, newest=0) == 0
    assert not fresh.own_state.knows("ann")
    assert fresh.recall(model.snapshot(), data.event_log.name, newest=1) == 1
    assert fresh.own_state.knows("ann")
