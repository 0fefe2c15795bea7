"""A shop of six items, and stores that know what was done in it."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.catalog import Catalog
from recsys.events import Click, Event, Impression, Interaction, Logged
from recsys.features import FeatureState
from recsys.lists import GivenHistory, Lists

START = 1_714_564_800_000_000  # 2024-05-01 12:00 UTC
MINUTE = 60_000_000
ITEMS = {
    "item_id": ["tea", "mug", "pot", "saw", "axe", "new"],
    "title": ["Tea", "Mug", "Pot", "Saw", "Axe", "New"],
    "description": [""] * 6,
    "category": ["kitchen", "kitchen", "kitchen", "tools", "tools", ""],
    "tags": [["hot", "gift"], ["gift"], ["hot"], ["sharp"], ["sharp", "gift"], []],
    "published_at": [None] * 6,
    "brand": ["leaf", "clay", "clay", "iron", "iron", "solo"],
}


@pytest.fixture(scope="session")
def server(redis_server: Any) -> Any:
    return redis_server


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    with server.connect() as client:
        yield client


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog(pl.DataFrame(ITEMS, schema_overrides={"published_at": pl.Datetime("us", "UTC")}))


_prefixes = itertools.count()


@pytest.fixture
def prefix() -> str:
    """A name that no other test uses in the same database."""
    return f"test-{next(_prefixes)}"


@pytest.fixture(scope="session")
def new_prefix() -> Callable[[], str]:
    return lambda: f"test-{next(_prefixes)}"


@pytest.fixture(scope="session")
def open_state(server: Any, catalog: Catalog) -> Callable[..., Any]:
    """Return what joins a store as one server would, following a log of that name from its beginning."""
    from serving.shared_state import RedisSettings, RedisState

    def open_it(
        prefix: str, *, log: str = "log-a", url: str = "", bundled: FeatureState | None = None, **more: Any
    ) -> Any:
        # On a machine with much else to do an answer may take its time; limits are tested where they matter.
        settings = RedisSettings(**{"prefix": prefix, "limit_s": 5.0, "connections": 2, **more})
        state = RedisState(url or server.url, bundled or FeatureState(catalog), "bundle-1", settings)
        state.catch_up(log, lambda _: ())
        return state

    return open_it


@pytest.fixture(params=["memory", "redis"])
def new_store(
    request: pytest.FixtureRequest, catalog: Catalog, prefix: str, open_state: Callable[..., Any]
) -> Iterator[Callable[..., Any]]:
    """Return a maker of a store that nobody has told anything; ``catalog`` may be another one."""
    opened: list[Any] = []

    def make(catalog: Catalog = catalog) -> Any:
        if request.param == "memory":
            return FeatureState(catalog)
        opened.append(open_state(f"{prefix}-{len(opened)}", bundled=FeatureState(catalog)))
        return opened[-1]

    if request.param == "redis":
        request.getfixturevalue("server")
    yield make
    for state in opened:
        state.close()


@pytest.fixture
def store(new_store: Callable[..., Any]) -> Any:
    return new_store()


class Log:
    """Numbers events as a server's log does: a click at the later of its own place and that of its list."""

    def __init__(self) -> None:
        self.told: list[Logged] = []
        self._lists: dict[str, Impression] = {}

    def add(self, *events: Event) -> list[Logged]:
        """Append events whose lists are known; returns what is told."""
        new = []
        for event in events:
            shown = None
            if isinstance(event, Impression):
                self._lists[event.request_id] = event
            if isinstance(event, Click):
                shown = self._lists[event.request_id]
            new.append(Logged(sequence=len(self.told) + len(new) + 1, event=event, shown=shown))
        self.told += new
        return new


@pytest.fixture
def event_log() -> Log:
    return Log()


@pytest.fixture(scope="session")
def new_log() -> type[Log]:
    return Log


_ids = itertools.count()


def shown(request: str, user: str, minutes: float, items: Sequence[str], surface: str = "home") -> Impression:
    ts = START + round(minutes * MINUTE)
    return Impression(
        event_id=f"e{next(_ids)}", request_id=request, user_id=user, ts=ts, item_ids=tuple(items), surface=surface
    )


def clicked(request: str, item: str, minutes: float) -> Click:
    return Click(event_id=f"e{next(_ids)}", request_id=request, item_id=item, ts=START + round(minutes * MINUTE))


def did(user: str, item: str, what: str, minutes: float) -> Interaction:
    ts = START + round(minutes * MINUTE)
    return Interaction(event_id=f"e{next(_ids)}", user_id=user, item_id=item, type=what, ts=ts)


@pytest.fixture(scope="session")
def make() -> Any:
    """Makers of events: ``make.shown``, ``make.clicked``, ``make.did``."""
    import types

    return types.SimpleNamespace(shown=shown, clicked=clicked, did=did)


@pytest.fixture(scope="session")
def ask(catalog: Catalog) -> Callable[..., Lists]:
    def make_lists(
        user: str,
        minutes: float,
        items: Sequence[str],
        *,
        surface: str = "home",
        history: GivenHistory | None = None,
        catalog: Catalog = catalog,
    ) -> Lists:
        return Lists(
            user_ids=[user],
            ts=np.array([START + round(minutes * MINUTE)]),
            item_rows=catalog.rows(items),
            offsets=np.array([0, len(items)]),
            histories=[history],
            queries=[""],
            surfaces=[surface],
        )

    return make_lists


def differing(left: Any, right: Any) -> list[str]:
    """Name the parts of two answers that are not equal to the bit."""
    return [
        name for name in left.seen._fields if getattr(left.seen, name).tobytes() != getattr(right.seen, name).tobytes()
    ] + ["known_users"] * (left.known_users.tolist() != right.known_users.tolist())


@pytest.fixture(scope="session")
def differences() -> Callable[[Any, Any], list[str]]:
    return differing


@pytest.fixture
def kept_rows(client: Any, stored_rows: Callable[..., dict[bytes, bytes]]) -> Callable[[str], dict[bytes, bytes]]:
    return lambda prefix: stored_rows(client, prefix)


@pytest.fixture
def proxy(server: Any) -> Iterator[Any]:
    """A proxy in front of the server, of ``proxy.py`` beside this file."""
    path = Path(__file__).with_name("proxy.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    proxy = module.Proxy(server.port)
    yield proxy
    proxy.close()
