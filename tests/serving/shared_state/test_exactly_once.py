"""Every event is learned once: from several servers, through lost answers, by a process that is killed any moment."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.catalog import Catalog
from recsys.events import Logged
from recsys.features import FeatureState
from recsys.features.windows import WINDOW_NAMES
from serving.shared_state.batch import MOST_EVENTS, batches, mark_of
from serving.shared_state.link import Link, NoState

_EVER = WINDOW_NAMES.index("ever")
KILLS = int(os.environ.get("RECSYS_TEST_KILLS", "10"))
SCRIPT = Path(__file__).with_name("dying_writer.py")


@pytest.fixture
def two(open_state: Callable[..., Any], prefix: str) -> Iterator[tuple[Any, Any]]:
    servers = open_state(prefix, log="log-a"), open_state(prefix, log="log-b")
    yield servers
    for server in servers:
        server.close()


def views(state: Any, ask: Any, item: str) -> Any:
    return state.look(ask("zoe", 5, [item])).seen.item[0, _EVER, 0]


def test_the_store_says_up_to_where_it_knows_each_log(two: Any, event_log: Any, make: Any, ask: Any) -> None:
    two[0].hear(event_log.add(make.shown("r1", "ann", 0, ["tea"]), make.shown("r2", "ann", 0, ["tea"])))
    two[1].hear([replace(event_log.add(make.shown("r3", "ann", 0, ["tea"]))[0], sequence=1)])

    assert two[0].heard_of("log-a") == 2
    assert two[0].heard_of("log-b") == 1
    assert two[1].heard_of("never") == 0
    assert two[1].look(ask("ann", 1, ["tea"])).versions == {"log-a": 2, "log-b": 1}
    assert two[1].versions == {"log-a": 2, "log-b": 1}


def test_what_two_servers_were_told_counts_once(two: Any, event_log: Any, make: Any, ask: Any) -> None:
    told = event_log.add(
        make.shown("r1", "ann", 0, ["tea"]), make.clicked("r1", "tea", 1), make.did("ann", "tea", "cart", 2)
    )
    two[0].hear(told)
    two[1].hear(told)

    seen = two[0].look(ask("ann", 5, ["tea"])).seen
    assert seen.item[0, _EVER].tolist() == [1, 1]
    assert seen.item_actions[0].sum() == 1
    assert two[0].heard_of("log-b") == 3


def test_a_second_click_told_by_another_server_is_no_click(two: Any, event_log: Any, make: Any, ask: Any) -> None:
    two[0].hear(event_log.add(make.shown("r1", "ann", 0, ["tea"]), make.clicked("r1", "tea", 1)))
    two[1].hear(event_log.add(make.clicked("r1", "tea", 2)))

    assert two[0].look(ask("ann", 5, ["tea"])).seen.item[0, _EVER].tolist() == [1, 1]


def test_what_was_told_before_is_not_learned_again(two: Any, event_log: Any, make: Any, ask: Any) -> None:
    told = event_log.add(make.shown("r1", "ann", 0, ["tea"]), make.shown("r2", "ann", 0, ["tea"]))
    two[0].hear(told[:1])
    two[0].hear(told)
    assert two[0].catch_up("log-a", lambda _: told)

    assert views(two[0], ask, "tea") == 2


def test_servers_that_write_at_once_lose_nothing(two: Any, new_log: type[Any], make: Any, ask: Any) -> None:
    def tell(number: int) -> None:
        log = new_log()
        for place in range(60):
            two[number].hear(log.add(make.shown(f"r{number}-{place}", f"user-{number}", 0, ["tea", "saw"])))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert views(two[0], ask, "tea") == 120
    assert [two[0].heard_of(log) for log in ("log-a", "log-b")] == [60, 60]


def test_who_writes_out_of_turn_notices(
    two: Any, event_log: Any, make: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes turns, and the other one writes between reading and writing: what was read is read again."""
    told = event_log.add(make.shown("r1", "ann", 0, ["tea"]), make.shown("r2", "ann", 0, ["tea"]))
    writer, reads = two[0]._writer, []
    monkeypatch.setattr("serving.shared_state.writer.RedisWriter._take_turn", lambda *_: None)
    from serving.shared_state.batch import Batch

    learn = Batch.learn

    def and_then_the_other_writes(self: Batch, *given: Any) -> Any:
        learned = learn(self, *given)
        reads.append(self)
        if len(reads) == 1:
            two[1].hear(told[1:])
        return learned

    monkeypatch.setattr(Batch, "learn", and_then_the_other_writes)
    two[0].hear(told[:1])

    assert len(reads) == 3  # the first one's, the other's, and the first one's again
    assert views(two[0], ask, "tea") == 2
    assert not writer.behind


def test_without_watching_the_others_the_first_write_would_be_lost(
    two: Any, event_log: Any, make: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Link.call
    monkeypatch.setattr(
        Link, "call", lambda self, *words, deadline: words[0] == "WATCH" or call(self, *words, deadline=deadline)
    )
    with pytest.raises(AssertionError):
        test_who_writes_out_of_turn_notices(two, event_log, make, ask, monkeypatch)


def test_a_turn_that_is_never_given_back_holds_nobody_up_for_long(
    two: Any, client: Any, event_log: Any, make: Any, ask: Any
) -> None:
    client.set(two[0].base + b"turn", b"", px=200)  # of a process that was killed

    two[0].hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))

    assert views(two[0], ask, "tea") == 1


def test_a_write_whose_answer_was_lost_counts_once(
    open_state: Callable[..., Any], prefix: str, proxy: Any, event_log: Any, make: Any, ask: Any
) -> None:
    state = open_state(prefix, url=proxy.url)
    state.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))

    def cut_the_answer(data: bytes) -> bytes:
        if b"HSET" in data:
            proxy.change = lambda later: later
            proxy.mode = "cut"
            threading.Timer(0.2, proxy.set, ("pass",)).start()
        return data

    proxy.change = cut_the_answer
    state.hear(event_log.add(make.shown("r2", "ann", 0, ["tea"])))
    proxy.set("pass")
    assert state.catch_up("log-a", lambda heard: [each for each in event_log.told if each.sequence > heard])

    other = open_state(prefix, log="log-b")
    assert views(other, ask, "tea") == 2
    for each in (state, other):
        each.close()


def test_a_server_without_its_store_falls_behind_and_catches_up(
    open_state: Callable[..., Any], prefix: str, proxy: Any, event_log: Any, make: Any, ask: Any, eventually: Any
) -> None:
    def told_after(heard: int) -> list[Logged]:
        return [each for each in event_log.told if each.sequence > heard]

    state = open_state(prefix, url=proxy.url, patience_s=0.3)
    proxy.set("hold")
    state.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))
    assert state.behind
    state.hear(event_log.add(make.shown("r2", "ann", 0, ["tea"])))
    assert not state.catch_up("log-a", told_after)

    proxy.set("pass")
    eventually(lambda: state.catch_up("log-a", told_after))
    assert not state.behind
    state.hear(event_log.add(make.shown("r3", "ann", 0, ["tea"])))
    eventually(lambda: not state.behind or state.catch_up("log-a", told_after))
    state.close()

    other = open_state(prefix, log="log-b")
    assert views(other, ask, "tea") == 3
    other.close()


def test_a_store_that_lost_its_newest_writes_is_told_them_again(
    two: Any, client: Any, event_log: Any, make: Any, ask: Any
) -> None:
    two[0].hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))
    names = list(client.scan_iter(match=two[0].base + b"*"))
    before = {name: client.dump(name) for name in names}
    two[0].hear(event_log.add(make.shown("r2", "ann", 0, ["tea"])))
    client.delete(*client.scan_iter(match=two[0].base + b"*"))
    for name, value in before.items():  # as a replica would know it that has become the store
        client.restore(name, 0, value)

    two[0].hear(event_log.add(make.shown("r3", "ann", 0, ["tea"])))
    assert two[0].behind
    assert two[0].catch_up("log-a", lambda heard: [each for each in event_log.told if each.sequence > heard])

    assert views(two[0], ask, "tea") == 3


def test_nothing_is_learned_before_the_log_was_caught_up_with(
    catalog: Catalog, server: Any, prefix: str, event_log: Any, make: Any
) -> None:
    from serving.shared_state import RedisSettings, RedisState

    state = RedisState(server.url, FeatureState(catalog), "bundle-1", RedisSettings(prefix=prefix))
    assert state.join()
    state.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))

    assert state.behind
    assert state.heard_of("log-a") == 0
    with pytest.raises(NoState):
        RedisState(server.url, FeatureState(catalog), "another", RedisSettings(prefix=prefix)).heard_of("log-a")
    state.close()


def test_were_the_log_noted_in_a_step_of_its_own_a_crash_would_count_twice(
    two: Any, event_log: Any, make: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.shared_state.writer import RedisWriter

    commands = RedisWriter._commands
    with monkeypatch.context() as crash:  # after the rows, and before the note
        crash.setattr(
            RedisWriter,
            "_commands",
            lambda *given: [each for each in commands(*given) if each[0] != "HSET" and b":m" not in each[1]],
        )
        two[0].hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))
    two[0].catch_up("log-a", lambda heard: [each for each in event_log.told if each.sequence > heard])

    assert views(two[0], ask, "tea") == 2  # and it was shown once


def test_batches_never_part_what_a_log_tells_at_one_number(make: Any) -> None:
    shown = make.shown("r", "ann", 0, [f"item-{place}" for place in range(600)])
    told = [Logged(sequence=1, event=make.shown("q", "bob", 0, ["tea"])), Logged(sequence=2, event=shown)]
    told += [Logged(sequence=2, event=make.clicked("r", f"item-{place}", 1), shown=shown) for place in range(600)]
    told += [Logged(sequence=number, event=make.did("ann", "tea", "cart", 2)) for number in range(3, 1_003)]

    found = list(batches(iter(told)))

    assert [each for batch in found for each in batch] == told
    assert [{each.sequence for each in batch} for batch in found[:2]] == [{1}, {2}]
    assert all(len(batch) <= MOST_EVENTS for batch in found[2:])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_writer_that_is_killed_at_any_moment_is_continued(
    server: Any,
    prefix: str,
    catalog: Catalog,
    new_log: type[Any],
    make: Any,
    tmp_path: Path,
    kept_rows: Any,
    counted_rows: Any,
) -> None:
    rng = random.Random(5)
    told = a_day_in_the_shop(new_log(), make, rng)
    (tmp_path / "log").write_bytes(pickle.dumps((catalog, told)))
    words = [sys.executable, str(SCRIPT), f"redis://127.0.0.1:{server.port}/0", prefix, str(tmp_path / "log")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writer:
        try:
            killed = begun = 0
            while killed < KILLS or not begun:
                child = start_child(writer)
                time.sleep(rng.uniform(0.0, 0.1))
                with contextlib.suppress(ProcessLookupError):  # it was quicker
                    os.kill(child, signal.SIGKILL)
                killed += told_until_the_end(writer) == ["ended"]
                # Some have to be killed in the middle of it.
                begun += 0 < heard_in(server, prefix) < told[-1].sequence
                rows = kept_rows(prefix)
                if b"overall" in rows:
                    assert learned(rows) == learned(counted_rows(recount(catalog, told, heard_in(server, prefix))))
                if heard_in(server, prefix) == told[-1].sequence:
                    forget_all(server, prefix)
            start_child(writer)
            assert told_until_the_end(writer) == ["done", "ended"]
        finally:
            writer.kill()

    assert heard_in(server, prefix) == told[-1].sequence
    assert learned(kept_rows(prefix)) == learned(counted_rows(recount(catalog, told, told[-1].sequence)))


def start_child(writer: subprocess.Popen[str]) -> int:
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("go\n")
    child = int(writer.stdout.readline())
    assert writer.stdout.readline() == "begins\n"
    return child


def told_until_the_end(writer: subprocess.Popen[str]) -> list[str]:
    assert writer.stdout is not None
    told = [writer.stdout.readline().strip()]
    while told[-1] != "ended":
        assert told[-1], "the script has died"
        told.append(writer.stdout.readline().strip())
    return told


def forget_all(server: Any, prefix: str) -> None:
    import redis

    with redis.Redis(port=server.port, protocol=2) as client:
        client.delete(*client.scan_iter(match=f"{prefix}:*"))


def a_day_in_the_shop(log: Any, make: Any, rng: random.Random) -> list[Logged]:
    items = ["tea", "mug", "pot", "saw", "axe", "new", "hat"]
    for number in range(400):
        shown = rng.sample(items, 4)
        log.add(make.shown(f"r{number}", rng.choice(["ann", "bob", "cat"]), number, shown))
        if number % 2:
            log.add(make.clicked(f"r{number}", rng.choice(shown), number + 1))
        if number % 7 == 0:
            log.add(make.did("ann", rng.choice(items), "cart", number))
    told: list[Logged] = log.told
    return told


def recount(catalog: Catalog, told: list[Logged], heard: int) -> FeatureState:
    state = FeatureState(catalog)
    state.hear([each for each in told if each.sequence <= heard])
    return state


def heard_in(server: Any, prefix: str) -> int:
    import redis

    with redis.Redis(port=server.port, protocol=2) as client:
        [name] = list(client.scan_iter(match=f"{prefix}:*:heard")) or [b"none"]
        return int(client.hget(name, "log-a") or 0)


def learned(rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Leave out the rows of which nothing was ever learned."""
    return {name: row for name, row in rows.items() if any(row[8:])}


def test_what_holds_a_nul_is_not_taken_for_something_else(make: Any) -> None:
    one, other = make.clicked("a\0b", "c", 1), make.clicked("a", "b\0c", 1)

    assert mark_of(Logged(sequence=1, event=one)) != mark_of(Logged(sequence=2, event=other))
    assert mark_of(Logged(sequence=1, event=one)) == mark_of(Logged(sequence=3, event=make.clicked("a\0b", "c", 2)))
