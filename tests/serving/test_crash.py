"""A server that is killed at any moment has every event that it acknowledged, once.

Five kills here; `make crash` sets CRASH_KILLS and CRASH_EVENTS for a long run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import pytest

from recsys.errors import RecsysError
from recsys.events import Click, Event, Impression, Interaction, Logged, time_ordered_id
from serving.client import RankingClient
from serving.data_directory import EVENTS, DataDirectory
from serving.event_file import open_for_reading
from serving.event_log import EventLog
from serving.event_rows import READ, event_of

SCRIPT = Path(__file__).with_name("length_model.py")
KILLS = int(os.environ.get("CRASH_KILLS", "5"))
COUNT = int(os.environ.get("CRASH_EVENTS", "3000"))
SENDERS = 3
_STORED = f"SELECT sequence, {', '.join(READ)} FROM events ORDER BY sequence"  # noqa: S608 - our own names


def made_events(count: int, rng: random.Random) -> list[Event]:
    """Make lists, clicks on them and other events, each click anywhere around its list."""
    now_us = time.time_ns() // 1_000
    lists = [
        Impression(
            event_id=time_ordered_id(now_us),
            request_id=f"list-{n}",
            user_id=f"user-{rng.randrange(50)}",
            ts=now_us,
            item_ids=tuple(f"item-{item}" for item in rng.sample(range(40), 5)),
        )
        for n in range(count * 6 // 10)
    ]
    placed: list[tuple[float, Event]] = [(n, shown) for n, shown in enumerate(lists)]
    for n in range(count - len(lists)):
        place = rng.randrange(len(lists))
        event_id, item_id = f"event-{n}", rng.choice(lists[place].item_ids)
        event: Event = Click(event_id=event_id, request_id=f"list-{place}", item_id=item_id, ts=now_us)
        if n % 4 == 0:
            event = Interaction(event_id=event_id, user_id="user-1", item_id=item_id, type="cart", ts=now_us)
        placed.append((place + rng.gauss(0, 50), event))
    return [event for _, event in sorted(placed, key=lambda one: one[0])]


class Sending:
    """What is to be sent, and what has been acknowledged; shared by the senders."""

    def __init__(self, events: Sequence[Event], rng: random.Random) -> None:
        self.acknowledged: set[str] = set()
        self._rng = rng
        self._events = list(events)
        self._left = list(reversed(events))
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        return len(self.acknowledged) == len(self._events)

    def send(self, client: RankingClient) -> None:
        """Send a few events by one way or the other; without an answer they are sent again, later."""
        with self._lock:
            few = [self._left.pop() for _ in range(min(self._rng.randint(1, 30), len(self._left)))]
            few += self._rng.sample(self._events, 2) if self._rng.random() < 0.1 else []
            stream, chunk = self._rng.random() < 0.5, self._rng.randint(1, 10)
        try:
            recorded = client.stream(few, chunk=chunk, deadline_s=20) if stream else client.record(few)
        except RecsysError:
            with self._lock:
                self._left += reversed(few)
            raise
        assert recorded.rejected == ()
        assert recorded.accepted + recorded.duplicates == len(few)
        with self._lock:
            self.acknowledged |= {event.event_id for event in few}


@contextmanager
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the script on the data directory; yields the process and its address."""
    log = folder / "server.log"
    settings = {**os.environ, "RECSYS_THREADS": "1", "RECSYS_DATA": str(folder / "live")}
    with log.open("wb") as file, subprocess.Popen([sys.executable, SCRIPT], env=settings, stderr=file) as process:
        try:
            while True:
                lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
                serving = [line["address"] for line in lines if line["event"] == "serving"]
                if serving:
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield process, serving[0]
        finally:
            process.kill()


def kill_while_sending(folder: Path, sending: Sending, *, after: int, delay_s: float) -> None:
    """Let one server live until so many events are acknowledged and some milliseconds more."""
    with server(folder) as (process, address):

        def send() -> None:
            with RankingClient(address, deadline_s=20) as client:
                try:
                    while True:
                        sending.send(client)
                except RecsysError:
                    return

        senders = [threading.Thread(target=send) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        while len(sending.acknowledged) < after:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        for sender in senders:
            sender.join(60)


def stored_events(data: Path) -> list[tuple[int, Event]]:
    with closing(open_for_reading(data / EVENTS)) as file:
        assert file.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        rows = file.execute(_STORED).fetchall()
    return [(row[0], event_of(row[1:])) for row in rows]


def check_events(data: Path, events: Sequence[Event], acknowledged: set[str]) -> None:
    """Everything acknowledged is there, nothing twice, nothing else, numbered without a gap."""
    stored = stored_events(data)
    sent = {event.event_id: event for event in events}
    ids = [event.event_id for _, event in stored]
    assert acknowledged - set(ids) == set()
    assert len(ids) == len(set(ids))
    assert all(sent[event.event_id] == event for _, event in stored)
    assert [sequence for sequence, _ in stored] == list(range(1, len(stored) + 1))


def check_state(data: Path, scratch: Path) -> None:
    """What the log tells is what a new log tells that is given its events in their order.

    A state that is made of the log, such as counters, is to be compared with a recount here.
    """
    with closing(DataDirectory(data, late_window_s=86_400)) as opened:
        told = list(chain(*opened.event_log.since(0)))
    scratch.unlink(missing_ok=True)
    with closing(EventLog(scratch)) as recount:
        events = [event for _, event in stored_events(data)]
        expected: list[Logged] = list(recount.append(events, now_us=time.time_ns() // 1_000).told)
    assert told == expected


@pytest.mark.slow
def test_no_kill_loses_or_doubles_an_acknowledged_event(tmp_path: Path) -> None:
    rng = random.Random(20_260_102)
    events = made_events(COUNT, rng)
    sending = Sending(events, rng)
    for number in range(1, KILLS + 1):
        after = max(len(sending.acknowledged), int(COUNT * (number - rng.random()) / (KILLS + 1)))
        kill_while_sending(tmp_path, sending, after=after, delay_s=rng.random() * 0.02)
        check_events(tmp_path / "live", events, sending.acknowledged)
        if KILLS <= 10 or number % (KILLS // 10) == 0:
            check_state(tmp_path / "live", tmp_path / "recount.db")
    with server(tmp_path) as (process, address), RankingClient(address, deadline_s=20) as client:
        while not sending.done:
            sending.send(client)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    check_events(tmp_path / "live", events, sending.acknowledged)
    assert sending.acknowledged == {event.event_id for event in events}
    check_state(tmp_path / "live", tmp_path / "recount.db")
