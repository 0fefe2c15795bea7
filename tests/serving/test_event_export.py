"""The log becomes a dataset: clicks in time set flags, open lists stay out, and the report accounts for every click."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.dataset import read_dataset, validate
from recsys.errors import ConfigError, DatasetError
from recsys.events import Click, Event, Impression, Interaction
from serving import event_export
from serving.event_export import JoinReport, export_events
from serving.event_log import EventLog

START = 1_780_000_000_000_000
SECOND = 1_000_000
NOW = START + 7_200 * SECOND
ITEMS = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "price": [1.0, 2.0, 3.0]})


def shown(request_id: str, items: str, at: int = 0, user: str = "u") -> Impression:
    return Impression(
        event_id=f"list {request_id}",
        request_id=request_id,
        user_id=user,
        ts=START + at * SECOND,
        item_ids=tuple(items),
        surface="home",
        query="warm",
    )


def clicked(event_id: str, request_id: str, item_id: str, at: int = 0) -> Click:
    return Click(event_id=event_id, request_id=request_id, item_id=item_id, ts=START + at * SECOND)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(EventLog(tmp_path / "events.db")) as log:
        yield log


def exported(folder: Path, items: pl.DataFrame = ITEMS, **options: Any) -> JoinReport:
    return export_events(folder / "events.db", items, folder / "out", now_us=options.pop("now_us", NOW), **options)


def flags(folder: Path) -> dict[str, dict[str, bool]]:
    lists = pl.read_parquet(folder / "out" / "impressions.parquet")
    return {
        row["request_id"]: dict(zip(row["item_ids"], row["clicked"], strict=True))
        for row in lists.iter_rows(named=True)
    }


def test_a_log_with_everything_in_it_becomes_a_valid_dataset(log: EventLog, tmp_path: Path) -> None:
    events: list[Event] = [
        shown("r1", "abc"),
        clicked("c1", "r1", "b", at=30),
        clicked("c2", "r1", "b", at=40),
        clicked("c3", "r1", "z", at=50),
        clicked("c4", "r1", "c", at=1_801),
        clicked("c5", "never", "a"),
        shown("r2", "ca", at=60, user=""),
        clicked("c6", "r2", "c", at=61),
        Interaction(event_id="i1", user_id="u", item_id="a", type="cart", ts=START + 90 * SECOND),
        shown("open", "ab", at=7_000),
        clicked("c7", "open", "a", at=7_001),
    ]
    log.append(events, now_us=NOW)

    report = exported(tmp_path)

    assert validate(tmp_path / "out") == []
    dataset = read_dataset(tmp_path / "out")
    assert dataset.items.select(ITEMS.columns).equals(ITEMS)
    assert flags(tmp_path) == {"r1": {"a": False, "b": True, "c": False}, "r2": {"c": True, "a": False}}
    first = dataset.impressions.row(0, named=True)
    assert (first["user_id"], first["query"], first["surface"]) == ("u", "warm", "home")
    assert first["ts"] == datetime.fromtimestamp(START / SECOND, UTC)
    assert dataset.impressions["user_id"][1].startswith("anonymous-")
    assert dataset.events.select("event_id", "user_id", "item_id", "type").rows() == [
        ("i1", "u", "a", "cart"),
        ("c4", "u", "c", "click"),
    ]
    assert report == JoinReport(
        impressions=3, open_lists=1, clicks=7, open_clicks=1, joined=2, late=1, double=1, off_list=1, orphans=1,
        interactions=1, unknown_items=0,
    )  # fmt: skip
    assert report.join_rate == pytest.approx(2 / 6)


@pytest.mark.parametrize(("at", "joined", "late"), [(1_799, 1, 0), (1_800, 1, 0), (1_801, 0, 1)])
def test_a_click_counts_up_to_the_end_of_its_window(
    log: EventLog, tmp_path: Path, at: int, joined: int, late: int
) -> None:
    log.append([shown("r", "ab"), clicked("c", "r", "a", at=at), shown("other", "a", at=7_200)], now_us=NOW)

    report = exported(tmp_path)

    assert (report.joined, report.late) == (joined, late)
    assert flags(tmp_path)["r"] == {"a": joined == 1, "b": False}


def test_a_list_is_open_while_its_window_reaches_beyond_now_or_beyond_the_newest_arrival(
    log: EventLog, tmp_path: Path
) -> None:
    log.append([shown("old", "ab"), shown("new", "ab", at=100)], now_us=START + 1_850 * SECOND)

    assert exported(tmp_path, now_us=NOW).open_lists == 1
    assert list(flags(tmp_path)) == ["old"]


def test_a_click_told_out_of_turn_still_sets_the_flag_when_it_was_made_in_time(log: EventLog, tmp_path: Path) -> None:
    log.append([shown("r", "ab"), clicked("late", "r", "a", at=4_000), clicked("early", "r", "a", at=5)], now_us=NOW)

    report = exported(tmp_path)

    assert (report.joined, report.late, report.double) == (1, 0, 1)
    assert flags(tmp_path)["r"]["a"]


def test_items_that_the_table_does_not_have_are_left_out_and_counted(log: EventLog, tmp_path: Path) -> None:
    log.append(
        [
            shown("r", "axb"),
            clicked("c", "r", "b"),
            shown("s", "xy"),
            Interaction(event_id="i", user_id="u", item_id="x", type="cart", ts=START),
        ],
        now_us=NOW,
    )

    report = exported(tmp_path)

    assert flags(tmp_path) == {"r": {"a": False, "b": True}}
    assert (report.impressions, report.unknown_items) == (2, 4)
    assert validate(tmp_path / "out") == []


def test_a_log_without_a_closed_list_makes_no_dataset(log: EventLog, tmp_path: Path) -> None:
    for events in ([], [shown("r", "ab", at=7_000)]):
        log.append(events, now_us=NOW)
        with pytest.raises(
            DatasetError,
            match=rf"no closed list.*: {len(events)} of its {len(events)} lists are still open.*--click-window",
        ):
            exported(tmp_path)
        assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_and_no_log_is_made(log: EventLog, tmp_path: Path) -> None:
    log.append([shown("r", "ab")], now_us=NOW)
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError, match="exists already"):
        exported(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        export_events(tmp_path / "no.db", ITEMS, tmp_path / "new", now_us=NOW)
    assert not (tmp_path / "no.db").exists()


LISTS = st.lists(
    st.tuples(st.sampled_from("rstvw"), st.sampled_from(["a", "ab", "cab", "bx"]), st.integers(0, 7_200)),
    min_size=1,
    unique_by=lambda one: one[0],
)
CLICKS = st.lists(st.tuples(st.sampled_from("rstvwn"), st.sampled_from("abcz"), st.integers(0, 7_200)), max_size=20)


@settings(deadline=None, max_examples=60)
@given(lists=LISTS, clicks=CLICKS, page=st.integers(1, 6), data=st.data())
def test_every_click_is_accounted_for_and_flags_are_what_a_plain_join_gives(
    tmp_path_factory: pytest.TempPathFactory,
    lists: list[tuple[str, str, int]],
    clicks: list[tuple[str, str, int]],
    page: int,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("export")
    events: Sequence[Event] = data.draw(
        st.permutations(
            [
                *(shown(*one) for one in lists),
                *(clicked(f"c{n}", *one) for n, one in enumerate(clicks)),
                shown("closed", "a"),
            ]
        )
    )
    with closing(EventLog(folder / "events.db")) as log, pytest.MonkeyPatch.context() as patch:
        log.append(events, now_us=NOW)
        patch.setattr(event_export, "_PAGE", page)
        report = exported(folder)

    expected = {
        name: {item: any(c[:2] == (name, item) and c[2] <= at + 1_800 for c in clicks) for item in items if item != "x"}
        for name, items, at in [*lists, ("closed", "a", 0)]
        if at + 1_800 <= 7_200
    }
    assert flags(folder) == {name: places for name, places in expected.items() if places}
    assert report.clicks == len(clicks)
    assert report.clicks == (
        report.joined + report.late + report.double + report.off_list + report.orphans + report.open_clicks
    )
    assert report.joined == sum(flag for places in expected.values() for flag in places.values())


def test_the_command_prints_the_report_and_its_dataset_validates(log: EventLog, tmp_path: Path) -> None:
    log.append([shown("r", "abc"), clicked("c", "r", "b"), shown("s", "ab", at=7_200)], now_us=NOW)
    (tmp_path / "data").mkdir()
    log.close()
    (tmp_path / "events.db").rename(tmp_path / "data" / "events.db")
    ITEMS.write_csv(tmp_path / "catalog.csv")

    def recsys(*words: str) -> str:
        command = [sys.executable, "-m", "recsys.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    told = recsys("events", "export", "data", "--items", "catalog.csv", "--out", "made", "--json", "report.json")
    recsys("validate", "made")

    assert "join rate" in told
    assert "100.0%" in told
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["impressions"], report["open_lists"], report["joined"], report["join_rate"]) == (2, 1, 1, 1.0)
