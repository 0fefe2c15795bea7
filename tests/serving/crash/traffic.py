"""A served bundle in a process of its own, callers who tell it events until it dies, and a look into its log."""

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

from recsys.errors import RecsysError
from recsys.events import Event, Logged
from serving.client import RankingClient
from serving.data_directory import EVENTS, DataDirectory
from serving.event_file import open_for_reading
from serving.event_log import EventLog
from serving.event_rows import READ, event_of

SENDERS = 3
_STORED = f"SELECT sequence, {', '.join(READ)} FROM events ORDER BY sequence"  # noqa: S608 - our own names


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
            stream, chunk, ask = self._rng.random() < 0.5, self._rng.randint(1, 10), self._rng.random() < 0.2
        try:
            recorded = client.stream(few, chunk=chunk, deadline_s=20) if stream else client.record(few)
            if ask:
                client.rank("stranger-1", ["item-01", "strange-1"])
        except RecsysError:
            with self._lock:
                self._left += reversed(few)
            raise
        assert recorded.rejected == ()
        assert recorded.accepted + recorded.duplicates == len(few)
        with self._lock:
            self.acknowledged |= {event.event_id for event in few}


class Served:
    """A server process."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self._address = address

    def known(self) -> int:
        """Ask up to where its state knows the log."""
        with RankingClient(self._address, deadline_s=20) as client:
            ranking = client.rank("stranger-1", ["item-01"])
        assert not ranking.degraded
        return sum(ranking.state_versions.values())

    def kill_amid(self, sending: Sending, *, after: int, delay_s: float) -> None:
        """Let it live until so many events are acknowledged and some milliseconds more."""

        def send() -> None:
            with RankingClient(self._address, deadline_s=20) as client:
                try:
                    while True:
                        sending.send(client)
                except RecsysError:
                    return

        senders = [threading.Thread(target=send) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        while len(sending.acknowledged) < after:
            assert self._process.poll() is None
            time.sleep(0.001)
        time.sleep(delay_s)
        self._process.send_signal(signal.SIGKILL)
        for sender in senders:
            sender.join(60)
        assert self._process.wait(60) == -signal.SIGKILL

    def take_the_rest(self, sending: Sending) -> None:
        with RankingClient(self._address, deadline_s=20) as client:
            while not sending.done:
                sending.send(client)

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(60) == 0


@contextmanager
def served(registry: Path, folder: Path, *words: str, snapshot_every_s: float = 300) -> Iterator[Served]:
    """Run `recsys serve` on the folder's data directory, once it serves."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "recsys.cli", "serve", str(registry), "--data", str(folder / "live"), *words]
    command += ["--port", "0", "--threads", "1", "--receipts", "0"]
    # On a machine with much else to do the store may take its time; nothing is about its limit here.
    settings = {"RECSYS_SNAPSHOT_EVERY_S": str(snapshot_every_s), "RECSYS_STORE_LIMIT_S": "10"}
    with log.open("wb") as file, subprocess.Popen(command, env={**os.environ, **settings}, stderr=file) as process:
        try:
            while True:
                lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
                serving = [line["address"] for line in lines if line["event"] == "serving"]
                if serving:
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield Served(process, serving[0])
        finally:
            process.kill()


def stored_events(data: Path) -> list[tuple[int, Event]]:
    with closing(open_for_reading(data / EVENTS)) as file:
        assert file.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        rows = file.execute(_STORED).fetchall()
    return [(row[0], event_of(row[1:])) for row in rows]


def newest_told(data: Path) -> int:
    """Return the sequence number up to which a model was told this log, 0 before there is one."""
    if not (data / EVENTS).exists():
        return 0
    with closing(open_for_reading(data / EVENTS)) as file:
        (newest,) = file.execute("SELECT coalesce(max(told_at), 0) FROM events").fetchone()
    return int(newest)


def check_ids(data: Path, acknowledged: set[str]) -> None:
    """Everything acknowledged is there, nothing twice, numbered without a gap."""
    with closing(open_for_reading(data / EVENTS)) as file:
        stored = file.execute("SELECT sequence, event_id FROM events ORDER BY sequence").fetchall()
    ids = {event_id for _, event_id in stored}
    assert acknowledged - ids == set()
    assert len(ids) == len(stored)
    assert [sequence for sequence, _ in stored] == list(range(1, len(stored) + 1))


def check_contents(data: Path, events: Sequence[Event], scratch: Path) -> None:
    """Every event is as it was sent, and the log tells what a new log tells that is given its events in their order."""
    stored = [event for _, event in stored_events(data)]
    sent = {event.event_id: event for event in events}
    assert all(sent.get(event.event_id) == event for event in stored)
    with closing(DataDirectory(data, late_window_s=86_400)) as opened:
        told = list(chain(*opened.event_log.since(0)))
    scratch.unlink(missing_ok=True)
    with closing(EventLog(scratch)) as anew:
        expected: list[Logged] = list(anew.append(stored, now_us=time.time_ns() // 1_000).told)
    assert told == expected
