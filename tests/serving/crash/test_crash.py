"""A server that is killed at any moment has every event that it acknowledged, once, and has counted it once.

Two kills for each store here; `make crash` sets CRASH_KILLS and CRASH_EVENTS for a long run.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.data_directory import DataDirectory

KILLS = int(os.environ.get("CRASH_KILLS", "2"))
COUNT = int(os.environ.get("CRASH_EVENTS", "3000"))
# A server writes snapshots all the time, now and then, or as it starts.
EVERY_S = (0.01, 0.1, 300)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show how a long run goes on."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}" if KILLS > 10 else "")
            sys.stdout.flush()

    return write


@pytest.fixture
def look(check: Callable[[Any], int], traffic: Any, tmp_path: Path) -> Callable[[Any], int]:
    """Look into log and store while no server runs; returns up to where the store knows the log."""

    def look_into(sending: Any) -> int:
        traffic.check_ids(tmp_path / "live", sending.acknowledged)
        with closing(DataDirectory(tmp_path / "live", late_window_s=86_400)) as opened:
            return check(opened.event_log)

    return look_into


@pytest.mark.slow
def test_no_kill_loses_or_doubles_an_event_or_what_was_learned_of_it(
    tiny_registry: Path, tmp_path: Path, shop: Any, traffic: Any, stores: Any, store: Any, recount: Any, look: Any,
    say: Any,
) -> None:  # fmt: skip
    rng, data = random.Random(20_260_102), tmp_path / "live"
    events = shop.made_events(COUNT, rng, recount.item_ids, [f"user-{n}" for n in range(40)])
    sending = traffic.Sending(events, rng)
    amid = behind = 0
    for number in range(1, KILLS + 1):
        after = max(len(sending.acknowledged), int(COUNT * (number - rng.random()) / (KILLS + 1)))
        with traffic.served(tiny_registry, tmp_path, *store.words, snapshot_every_s=rng.choice(EVERY_S)) as server:
            assert server.known() == traffic.newest_told(data)
            server.kill_amid(sending, after=after, delay_s=rng.random() * 0.02)
        amid += len(list(data.glob(".state-*")))
        behind += look(sending) < traffic.newest_told(data)
        if number % max(KILLS // 10, 5) == 0:
            traffic.check_contents(data, events, tmp_path / "anew.db")
            with traffic.served(tiny_registry, tmp_path, *store.words) as server:
                server.stop()
            assert look(sending) == traffic.newest_told(data)
            done = f"{len(sending.acknowledged):,} events"
            say(f"{number} kills, {done}, no difference; {amid} while a snapshot was written, {behind} behind the log")
    with traffic.served(tiny_registry, tmp_path, *store.words) as server:
        server.take_the_rest(sending)
        server.stop()

    assert look(sending) == traffic.newest_told(data)
    # A shared store has no snapshots, and of others none is left half written.
    assert len(list(data.glob("*state-*"))) == (not store.words)
    traffic.check_contents(data, events, tmp_path / "anew.db")
    recounted = shop.counted(event for _, event in traffic.stored_events(data))
    assert recounted == shop.counted(events)
    assert stores.learned_totals(recount.bundled, recount.rows, {item_id for item_id, _ in recounted}) == recounted
