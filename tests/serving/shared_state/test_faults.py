"""Whatever the store or the network does: a ranking ends in time, and never with somebody else's past."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import redis

from recsys.catalog import Catalog
from recsys.errors import ConfigError
from recsys.features import FeatureState
from recsys.features.keys import key_of
from recsys.features.windows import TOTALS, WINDOW_NAMES
from serving.shared_state import RedisSettings, RedisState
from serving.shared_state.link import Link, NoState
from serving.shared_state.resp import Refused, Replies
from serving.shared_state.rows import Wanted, read
from serving.shared_state.scripts import RECALL

_EVER = WINDOW_NAMES.index("ever")


@pytest.fixture
def behind_proxy(
    proxy: Any, prefix: str, open_state: Callable[..., Any], event_log: Any, make: Any
) -> Iterator[RedisState]:
    """A state of a server that asks through the proxy; others have taught it what ann and bob did."""
    writer = open_state(prefix, log="log-w")
    writer.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"]), make.clicked("r1", "tea", 1)))
    writer.hear(event_log.add(make.shown("r2", "bob", 0, ["saw"]), make.clicked("r2", "saw", 1)))
    writer.close()
    state = open_state(prefix, url=proxy.url, limit_s=0.3)
    yield state
    proxy.set("pass")
    state.close()


def answered(state: RedisState, lists: Any) -> Any:
    """Ask until there is an answer; after a failure the store is left alone for a moment."""
    for _ in range(1_000):
        context = state.look(lists)
        if not context.missing:
            return context
        time.sleep(0.01)
    raise AssertionError(state.missed)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("hold", "timeout"), ("half", "timeout"), ("drip", "timeout"), ("cut", "connection"), ("noise", "reply")],
)
def test_a_ranking_does_without_a_store_that_does_not_answer(
    behind_proxy: RedisState, proxy: Any, ask: Any, mode: str, reason: str
) -> None:
    proxy.set(mode)

    context = behind_proxy.look(ask("ann", 2, ["tea", "saw"]))

    assert proxy.mode == mode  # the answer was still kept back when the ranking went on
    assert context.missing
    assert behind_proxy.missed == {reason: 1}
    assert (context.seen.liked_row == -1).all()
    assert np.isnan(context.seen.item).all()
    assert context.versions == {}

    proxy.set("pass")
    assert answered(behind_proxy, ask("ann", 2, ["tea"])).seen.liked_row[0, 0] == 0


def test_without_a_limit_for_the_whole_call_a_dripping_answer_would_take_as_long_as_it_likes(
    proxy: Any, client: Any, prefix: str
) -> None:
    client.set(prefix, "x" * 100)
    with redis.Redis(port=proxy.port, socket_timeout=1.5, protocol=2, retry=None) as plain:
        plain.ping()
        proxy.set("drip")
        began = time.monotonic()
        assert plain.get(prefix) == b"x" * 100
        assert time.monotonic() - began > 1.5  # 0.02 s for each of 107 bytes, and no limit was reached

    proxy.set("pass")
    link = Link(proxy.url)
    link.open()
    proxy.set("drip")
    with pytest.raises(NoState, match="time limit"):
        link.call("GET", prefix, deadline=time.monotonic() + 0.3)


def test_after_a_failure_the_store_is_left_alone_for_a_moment(behind_proxy: RedisState, proxy: Any, ask: Any) -> None:
    proxy.set("hold")
    contexts = [behind_proxy.look(ask("ann", 2, ["tea"])) for _ in range(20)]

    assert all(context.missing for context in contexts)
    assert behind_proxy.missed["skipped"] + behind_proxy.missed["connection"] >= 17


def test_a_late_answer_is_not_taken_for_the_next_one(behind_proxy: RedisState, proxy: Any, ask: Any) -> None:
    proxy.set("hold")
    assert behind_proxy.look(ask("ann", 2, ["tea", "saw"])).missing
    proxy.set("pass")  # now ann's answer arrives

    seen = answered(behind_proxy, ask("bob", 2, ["tea", "saw"])).seen

    assert seen.liked_row[0, :2].tolist() == [3, -1]


class Reused(Link):
    """What must not be: a link that goes on after a call that failed."""

    def close(self) -> None:
        pass


def late_answer(proxy: Any, link: Link, base: bytes, asked: Wanted) -> None:
    """Ask, give up, and let the answer come when nobody waits for it any more."""
    link.open()
    link.call("SCRIPT", "LOAD", RECALL, deadline=soon())
    proxy.set("hold")
    with pytest.raises(NoState, match="time limit"):
        read(link, base, asked, deadline=time.monotonic() + 0.3)
    proxy.wait_held(1)
    proxy.set("pass")
    if isinstance(link, Reused):
        while link.quiet:
            time.sleep(0.01)
        proxy.set("hold")  # so that the next answer does not come with it


def soon() -> float:
    return time.monotonic() + 30


def of(user: str) -> Wanted:
    return Wanted(users=np.array([key_of(user)]))


def test_a_link_that_failed_is_closed_and_not_quiet(behind_proxy: RedisState, proxy: Any) -> None:
    link = Link(proxy.url)
    late_answer(proxy, link, behind_proxy.base, of("ann"))

    assert not link.quiet
    with pytest.raises(NoState, match="closed"):
        read(link, behind_proxy.base, of("bob"), deadline=soon())


def test_were_it_not_closed_its_waiting_answer_would_be_seen(behind_proxy: RedisState, proxy: Any) -> None:
    link = Reused(proxy.url)
    late_answer(proxy, link, behind_proxy.base, of("ann"))

    assert not link.quiet
    Link.close(link)


def test_were_that_not_seen_the_answer_would_not_know_the_question(behind_proxy: RedisState, proxy: Any) -> None:
    link = Reused(proxy.url)
    late_answer(proxy, link, behind_proxy.base, of("ann"))

    with pytest.raises(NoState, match="another question"):
        read(link, behind_proxy.base, of("bob"), deadline=soon())
    Link.close(link)


def test_were_it_not_asked_that_the_rows_would_be_anothers(
    behind_proxy: RedisState, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.shared_state.rows.token_bytes", bytes)  # every question is named alike
    link = Reused(proxy.url)
    late_answer(proxy, link, behind_proxy.base, of("ann"))

    with pytest.raises(NoState, match="users: rows of other keys"):
        read(link, behind_proxy.base, of("bob"), deadline=soon())
    Link.close(link)


def test_without_any_guard_the_late_answer_would_be_used(
    behind_proxy: RedisState, proxy: Any, monkeypatch: pytest.MonkeyPatch, event_log: Any, make: Any, open_state: Any
) -> None:
    monkeypatch.setattr("serving.shared_state.rows.token_bytes", bytes)
    link = Reused(proxy.url)
    late_answer(proxy, link, behind_proxy.base, of("ann"))
    writer = open_state(behind_proxy.settings.prefix, log="log-v")
    writer.hear(event_log.add(make.shown("r3", "ann", 2, ["pot"])))
    writer.close()

    views = read(link, behind_proxy.base, of("ann"), deadline=soon()).tables["users"].rows["counts"][0, TOTALS]

    assert views == 1  # by now it is two: this is what the guards are for
    Link.close(link)


def test_an_answer_with_anothers_row_is_no_answer(behind_proxy: RedisState, proxy: Any, ask: Any) -> None:
    ann, bob = (key_of(user).to_bytes(8, "little", signed=True) for user in ("ann", "bob"))
    proxy.change = lambda data: data.replace(ann, bob)

    assert behind_proxy.look(ask("ann", 2, ["tea"])).missing
    assert behind_proxy.missed["reply"] == 1


def test_answers_that_nobody_asked_for_end_the_connection(behind_proxy: RedisState, proxy: Any, ask: Any) -> None:
    proxy.set("twice")
    first = behind_proxy.look(ask("ann", 2, ["tea"]))
    proxy.set("pass")

    for user, row in (("bob", 3), ("ann", 0)) * 5:
        assert answered(behind_proxy, ask(user, 2, ["tea"])).seen.liked_row[0, 0] == row
    assert first.missing or first.seen.liked_row[0, 0] == 0


def test_rows_that_are_too_short_are_no_answer(behind_proxy: RedisState, client: Any, ask: Any) -> None:
    client.set(behind_proxy.base + b"overall", b"short")

    assert behind_proxy.look(ask("ann", 2, ["tea"])).missing
    assert behind_proxy.missed == {"reply": 1}


def test_another_type_of_value_is_no_answer(behind_proxy: RedisState, client: Any, ask: Any) -> None:
    client.delete(behind_proxy.base + b"heard")
    client.set(behind_proxy.base + b"heard", b"no hash")

    assert behind_proxy.look(ask("ann", 2, ["tea"])).missing
    assert behind_proxy.missed == {"refused": 1}


def test_a_script_that_the_store_forgot_is_loaded_again(behind_proxy: RedisState, client: Any, ask: Any) -> None:
    client.script_flush()

    assert answered(behind_proxy, ask("ann", 2, ["tea"])).seen.liked_row[0, 0] == 0


def test_a_store_that_stops_and_comes_back_is_found_again(
    own_server: Callable[[], Any], open_state: Callable[..., Any], prefix: str, event_log: Any, make: Any, ask: Any
) -> None:
    server = own_server()
    state = open_state(prefix, url=server.url)
    told = event_log.add(make.shown("r1", "ann", 0, ["tea"]))
    state.hear(told)
    server.process.kill()
    server.process.wait()
    assert state.look(ask("ann", 1, ["tea"])).missing

    own_server()  # empty: it keeps nothing on disk
    assert state.catch_up("log-a", lambda heard: [each for each in event_log.told if each.sequence > heard])

    assert answered(state, ask("ann", 1, ["tea"])).seen.item[0, _EVER].tolist() == [1, 0]
    state.close()


def ask_while_it_stops(state: RedisState, server: Any) -> None:
    with state._links.borrowed(soon()) as link:
        server.process.kill()
        server.process.wait()
        link.call("PING", deadline=soon())


def test_a_store_that_is_back_is_not_away_though_links_of_before_lie_unused(
    own_server: Callable[[], Any], open_state: Callable[..., Any], prefix: str, ask: Any
) -> None:
    server = own_server()
    state = open_state(prefix, url=server.url, connections=3, limit_s=0.3)
    assert not state.away
    with pytest.raises(NoState):
        ask_while_it_stops(state, server)  # as a ranking does that is under way
    assert state.away
    own_server()
    assert state.catch_up("log-a", lambda _: ())
    while not state._links.wait_open(10):  # the one that failed is replaced, and lies on top
        time.sleep(0.01)
    answered(state, ask("ann", 1, ["tea"]))

    assert not state.away
    assert sum(not link.quiet for link in state._links._free) > 0  # the newest link is taken first
    state.close()


def test_a_full_store_is_told_later_what_it_could_not_take(
    own_server: Callable[[], Any], open_state: Callable[..., Any], prefix: str, event_log: Any, make: Any, ask: Any
) -> None:
    server = own_server()
    state = open_state(prefix, url=server.url)
    state.hear(event_log.add(make.shown("r1", "ann", 0, ["tea"])))
    with redis.Redis(port=server.port, protocol=2) as operator:
        operator.config_set("maxmemory", 1)
        state.hear(event_log.add(make.shown("r2", "ann", 0, ["tea"])))
        assert state.behind
        assert state.look(ask("ann", 1, ["tea"])).missing  # a full store takes no transaction at all
        operator.config_set("maxmemory", 0)

    assert state.catch_up("log-a", lambda heard: [each for each in event_log.told if each.sequence > heard])
    assert answered(state, ask("ann", 1, ["tea"])).seen.item[0, _EVER].tolist() == [2, 0]
    state.close()


def test_rankings_in_many_threads_never_get_each_others_answers(
    open_state: Callable[..., Any], prefix: str, event_log: Any, make: Any, ask: Any
) -> None:
    state = open_state(prefix, connections=4, limit_s=0.05)  # now and then too short, on a machine with much else to do
    for number, item in enumerate(["tea", "mug", "pot", "saw"]):
        state.hear(event_log.add(make.did(f"user-{number}", item, "cart", number)))
    wrong = []

    def look(number: int) -> None:
        for _ in range(100):
            context = state.look(ask(f"user-{number}", 9, ["axe"]))
            if not context.missing and context.seen.liked_row[0, :2].tolist() != [number, -1]:
                wrong.append(number)

    threads = [threading.Thread(target=look, args=(number % 4,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    state.close()


def test_without_a_store_a_server_starts_all_the_same(catalog: Catalog, prefix: str, ask: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        settings = RedisSettings(prefix=prefix)
        state = RedisState(url, FeatureState(catalog), "bundle-1", settings)

        assert not state.join()
        context = state.look(ask("ann", 1, ["tea"]))
        state.close()

    assert context.missing
    assert state.behind
    assert context.known_users.tolist() == [False]


def test_what_is_missing_is_as_the_ranker_has_practised_it(behind_proxy: RedisState, proxy: Any, ask: Any) -> None:
    proxy.set("hold")
    features = behind_proxy.feature_set

    table = features.table(behind_proxy.look(ask("ann", 2, ["tea", "saw"])))

    assert np.isnan(table[:, features.counters]).all()
    assert not np.isnan(table[:, features.names.index("hour_of_day")]).any()


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://localhost/0?unheard_of=1"])
def test_a_url_that_cannot_be_used_is_refused_at_once(catalog: Catalog, url: str) -> None:
    with pytest.raises(ConfigError, match="redis://host:port/db"):
        RedisState(url, FeatureState(catalog), "bundle-1")


@pytest.mark.parametrize("pieces", [1, 3, 1_000])
def test_answers_are_read_however_they_come(pieces: int) -> None:
    sent = b"*4\r\n$3\r\na\r\n\r\n$-1\r\n:-7\r\n*2\r\n+OK\r\n$0\r\n\r\n*-1\r\n"
    coming = (sent[place : place + pieces] for place in range(0, len(sent), pieces))
    replies = Replies(lambda: next(coming))

    assert replies.read() == [b"a\r\n", None, -7, [b"OK", b""]]
    assert replies.read() is None
    assert not replies.unread


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"*2\r\n:1\r\n-ERR no\r\n", Refused),
        (b"$3\r\nabcde\r\n", ValueError),
        (b"$x\r\n", ValueError),
        (b"hello\r\n", ValueError),
        (b"\r\n", ValueError),
        (b"", ConnectionError),
        (b"*1\r\n" * 5_000, RecursionError),
    ],
)
def test_what_is_no_answer_is_told_from_one(sent: bytes, error: type[Exception]) -> None:
    coming = iter([sent, b""])

    with pytest.raises(error):
        Replies(lambda: next(coming)).read()


@pytest.mark.parametrize("url", ["redis://:hunter2@localhost:port/0", "hunter2", "redis://:hunter2@localhost/0?db=x"])
def test_an_address_that_cannot_be_used_is_not_repeated_with_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="name it as redis://host:port/db") as refused:
        Link(url)

    assert "hunter2" not in str(refused.value)
