"""The state of one bundle begins once, whoever comes first, and is never mixed with another bundle's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recsys.catalog import Catalog
from recsys.features import FeatureState
from recsys.features.keys import key_of
from recsys.features.tables import empty_tables
from recsys.features.windows import WINDOW_NAMES
from serving.shared_state import NoState, RedisSettings, RedisState, forget_generation, generation
from serving.shared_state.generation import Generation
from serving.shared_state.rows import PAGE

_EVER = WINDOW_NAMES.index("ever")


@pytest.fixture
def trained(catalog: Catalog, new_log: type[Any], make: Any) -> FeatureState:
    """A bundle's state that has learned something."""
    state, log = FeatureState(catalog), new_log()
    state.hear(log.add(make.shown("r1", "ann", 0, ["tea", "mug", "saw", "hat"]), make.clicked("r1", "saw", 1)))
    state.hear(log.add(make.did("ann", "tea", "cart", 2), make.did("bob", "hat", "hide", 2)))
    return state


def test_the_store_begins_with_what_the_bundle_has_learned(
    open_state: Callable[..., Any], prefix: str, trained: FeatureState, ask: Any, differences: Any, kept_rows: Any,
    counted_rows: Any,
) -> None:  # fmt: skip
    state = open_state(prefix, bundled=trained)

    for user in ("ann", "bob", "zoe"):
        lists = ask(user, 5, ["tea", "saw", "axe"])
        assert differences(state.look(lists), trained.look(lists)) == []
    rows = kept_rows(prefix)
    assert {name: row for name, row in rows.items() if any(row[8:])} == counted_rows(trained)
    state.close()


def test_who_comes_later_begins_with_what_is_there(
    open_state: Callable[..., Any], prefix: str, trained: FeatureState, make: Any, new_log: type[Any], ask: Any
) -> None:
    first = open_state(prefix, bundled=trained)
    first.hear(new_log().add(make.shown("r9", "ann", 3, ["tea"])))
    second = open_state(prefix, log="log-b", bundled=trained)

    assert second.look(ask("ann", 5, ["tea"])).seen.item[0, _EVER, 0] == 2
    for state in (first, second):
        state.close()


def test_servers_that_start_at_once_begin_it_once(
    open_state: Callable[..., Any],
    prefix: str,
    trained: FeatureState,
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generation, "_CHUNK", 1)
    written: list[str] = []
    monkeypatch.setattr(generation, "_log", SimpleNamespace(info=lambda said, **_: written.append(said)))
    states: list[RedisState] = []
    threads = [
        threading.Thread(target=lambda log=log: states.append(open_state(prefix, log=log, bundled=trained)))
        for log in ("a", "b", "c")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert written == ["bundle's state written into the store"]
    assert [state.look(ask("ann", 5, ["tea"])).seen.item[0, _EVER, 0] for state in states] == [1, 1, 1]
    for state in states:
        state.close()


def test_a_beginning_that_was_broken_off_is_begun_again(
    server: Any, prefix: str, trained: FeatureState, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_CHUNK", 1)
    monkeypatch.setattr(generation, "_TURN_MS", 100)
    write_if, written = Generation._write_if, []

    def break_off(*given: Any) -> bool:
        written.append(1)
        if len(written) == 3:
            raise NoState("connection", "the process was killed")
        return write_if(*given)

    settings = RedisSettings(prefix=prefix, limit_s=5.0, connections=1)
    state = RedisState(server.url, trained, "bundle-1", settings)
    with monkeypatch.context() as killed:
        killed.setattr(Generation, "_write_if", break_off)
        assert not state.join()
    assert state.look(ask("ann", 5, ["tea"])).missing  # half of it is nothing
    assert state.missed == {"absent": 1}

    other = RedisState(server.url, trained, "bundle-1", settings)
    assert other.join()
    assert other.look(ask("ann", 5, ["tea"])).seen.item[0, _EVER, 0] == 1
    for each in (state, other):
        each.close()


def test_who_is_overtaken_while_writing_the_beginning_writes_no_more(
    server: Any, prefix: str, trained: FeatureState, make: Any, new_log: type[Any], ask: Any, client: Any,
    monkeypatch: pytest.MonkeyPatch, open_state: Callable[..., Any],
) -> None:  # fmt: skip
    """The slow one pauses for longer than its turn; meanwhile another has begun, and events were learned."""
    monkeypatch.setattr(generation, "_CHUNK", 1)
    slow = RedisState(server.url, trained, "bundle-1", RedisSettings(prefix=prefix, limit_s=5.0, connections=1))
    write_if, written = Generation._write_if, []

    def pause(*given: Any) -> bool:
        written.append(1)
        if len(written) == 3:
            monkeypatch.setattr(Generation, "_write_if", write_if)
            client.delete(slow.base + b"seed")  # as it expires
            quick = open_state(prefix, log="log-b", bundled=trained)
            quick.hear(new_log().add(make.shown("r9", "ann", 3, ["tea"])))
            quick.close()
        return write_if(*given)

    monkeypatch.setattr(Generation, "_write_if", pause)
    assert slow.join()

    assert slow.look(ask("ann", 5, ["tea"])).seen.item[0, _EVER, 0] == 2
    slow.close()


def test_who_takes_the_turn_when_the_beginning_is_over_writes_nothing(
    server: Any, prefix: str, trained: FeatureState, make: Any, new_log: type[Any], ask: Any, client: Any,
    monkeypatch: pytest.MonkeyPatch, open_state: Callable[..., Any],
) -> None:  # fmt: skip
    """Between its looking for the generation and its taking the turn, another has written all of it."""
    slow = RedisState(server.url, trained, "bundle-1", RedisSettings(prefix=prefix, limit_s=5.0, connections=1))
    write = Generation._write

    def be_late(self: Generation, link: Any, token: bytes, ground: Any) -> None:
        monkeypatch.setattr(Generation, "_write", write)
        client.delete(slow.base + b"seed")
        quick = open_state(prefix, log="log-b", bundled=trained)
        quick.hear(new_log().add(make.shown("r9", "ann", 3, ["tea"])))
        quick.close()
        client.set(slow.base + b"seed", token)
        write(self, link, token, ground)

    monkeypatch.setattr(Generation, "_write", be_late)
    assert slow.join()

    assert slow.look(ask("ann", 5, ["tea"])).seen.item[0, _EVER, 0] == 2
    slow.close()


def test_another_bundle_is_another_generation(server: Any, prefix: str, trained: FeatureState, ask: Any) -> None:
    settings = RedisSettings(prefix=prefix, limit_s=5.0, connections=1)
    states = [RedisState(server.url, trained, bundle, settings) for bundle in ("bundle-1", "bundle-2")]
    assert states[0].join()

    assert not states[0].look(ask("ann", 5, ["tea"])).missing
    assert states[1].look(ask("ann", 5, ["tea"])).missing
    assert states[1].missed == {"absent": 1}
    for state in states:
        state.close()


def test_a_generation_can_be_forgotten_and_begins_anew_where_it_is_still_served(
    open_state: Callable[..., Any], server: Any, prefix: str, trained: FeatureState, client: Any, ask: Any
) -> None:
    state, other = open_state(prefix, bundled=trained), open_state(f"{prefix}-other", bundled=trained)
    rows = len(list(client.scan_iter(match=f"{prefix}:*")))

    assert forget_generation(server.url, state.generation, prefix=prefix) == rows
    assert list(client.scan_iter(match=f"{prefix}:*")) == []
    assert state.look(ask("ann", 5, ["tea"])).missing
    assert not other.look(ask("ann", 5, ["tea"])).missing

    assert state.catch_up("log-a", lambda _: ())
    assert Generation(server.url, trained, "bundle-1", state.settings).name == state.generation
    for each in (state, other):
        each.close()


def test_strangers_expire_and_the_catalog_does_not(
    open_state: Callable[..., Any], prefix: str, trained: FeatureState, make: Any, new_log: type[Any], client: Any
) -> None:
    state = open_state(prefix, bundled=trained, keep_s=1_000, late_s=500)
    state.hear(new_log().add(make.shown("r9", "dan", 3, ["tea", "cap"], "search")))

    def expiry(letter: bytes, name: str) -> int:
        left: int = client.ttl(state.base + letter + key_of(name).to_bytes(8, "little", signed=True))
        return left

    for letter, name in ((b"u", "ann"), (b"u", "dan"), (b"i", "hat"), (b"i", "cap"), (b"s", "home"), (b"s", "search")):
        assert 0 < expiry(letter, name) <= 1_000, name
    for letter, name in ((b"i", "tea"), (b"i", "axe"), (b"c", "kitchen")):
        assert expiry(letter, name) == -1, name
    marks = list(client.scan_iter(match=state.base + b"m*", count=1_000))
    assert len(marks) == 1
    assert 0 < client.ttl(marks[0]) <= 500
    state.close()


def test_a_user_who_expired_is_a_stranger(
    open_state: Callable[..., Any], prefix: str, trained: FeatureState, ask: Any, client: Any
) -> None:
    state = open_state(prefix, bundled=trained)
    client.delete(state.base + b"u" + key_of("ann").to_bytes(8, "little", signed=True))

    context = state.look(ask("ann", 5, ["tea"]))

    assert context.known_users.tolist() == [False]
    assert (context.seen.liked_row == -1).all()
    assert context.seen.item[0, _EVER, 0] == 1
    state.close()


def test_values_of_several_pages_are_written_where_they_belong() -> None:
    tables = empty_tables(values=2 * PAGE + 2)
    tables.values[:, 0] = np.arange(len(tables.values)) + 1

    (pages,) = generation._chunks(tables, "values")

    assert pages["keys"].tolist() == [1, 2, 3]
    assert pages["counts"].reshape(-1, 2)[: len(tables.values)].tolist() == tables.values.tolist()
