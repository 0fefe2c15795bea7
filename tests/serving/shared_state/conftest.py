"""A Redis server of the tests' own, a shop of six items, and stores that know what was done in it."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.catalog import Catalog
from recsys.events import Click, Event, Impression, Interaction, Logged
from recsys.features import FeatureState
from recsys.features.rows import to_rows
from recsys.lists import GivenHistory, Lists
from serving.shared_state.rows import PAGE

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


@dataclass(frozen=True)
class Server:
    """A Redis server process without persistence, on a socket file and on a port."""

    url: str
    port: int
    process: subprocess.Popen[bytes]


def start_server(folder: Path, port: int) -> Server:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("NOT TESTED: neither redis-server nor valkey-server is on the PATH; apt-get install redis-server")
    socket = folder / "redis.sock"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(socket)]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    server = Server(url=f"unix://{socket}?db=0", port=port, process=process)
    client = raw_client(server)
    for _ in range(500):
        try:
            client.ping()
        except Exception:  # noqa: BLE001 - it is not there yet
            assert process.poll() is None, (folder / "redis.log").read_text()
            time.sleep(0.02)
        else:
            break
    client.close()
    return server


def raw_client(server: Server) -> Any:
    import redis

    return redis.Redis.from_url(server.url, protocol=2)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # a socket's path must be short
        server = start_server(Path(folder), free_port())
        yield server
        server.process.kill()
        server.process.wait()


@pytest.fixture
def own_server() -> Iterator[Callable[[], Server]]:
    """Start servers that a test may stop."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        started: list[Server] = []
        port = free_port()

        def start() -> Server:
            started.append(start_server(Path(folder), port))
            return started[-1]

        yield start
        for server in started:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with raw_client(server) as client:
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
def open_state(server: Server, catalog: Catalog) -> Callable[..., Any]:
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


def rows_in_store(client: Any, prefix: str) -> dict[bytes, bytes]:
    """Return every row of the one generation below a prefix, by letter and key."""
    names = [name for name in client.scan_iter(match=f"{prefix}:*", count=1_000) if client.type(name) == b"string"]
    begin = len(prefix) + 1 + 16 + 1
    whose = {name[begin:]: name for name in names}
    return {row: client.get(name) for row, name in whose.items() if len(row) == 9 or row in (b"overall", b"places")}


def rows_in_memory(state: FeatureState) -> dict[bytes, bytes]:
    """Return what those rows are in one process, without those that nothing was ever learned of."""
    tables: Any = state._tables
    found = {b"overall": to_rows(tables.overall, np.zeros(1, int)).tobytes(), b"places": tables.places.tobytes()}
    for letter, table in (("u", "users"), ("i", "items"), ("c", "categories"), ("s", "surfaces")):
        each = getattr(tables, table)
        for row in to_rows(each, np.arange(each.used[0])):
            blank = np.zeros(1, row.dtype)[0]
            blank["keys"] = row["keys"]
            if row.tobytes() != blank.tobytes():
                found[letter.encode() + row["keys"].tobytes()] = row.tobytes()
    pages = np.zeros((-(-len(tables.values) // PAGE), PAGE, 2), np.int64)
    pages.reshape(-1, 2)[: len(tables.values)] = tables.values
    for number, page in enumerate(pages, start=1):
        key = number.to_bytes(8, "little")
        if page.any():
            found[b"v" + key] = key + page.tobytes()
    return found


@pytest.fixture
def kept_rows(client: Any) -> Callable[[str], dict[bytes, bytes]]:
    return lambda prefix: rows_in_store(client, prefix)


@pytest.fixture(scope="session")
def counted_rows() -> Callable[[FeatureState], dict[bytes, bytes]]:
    return rows_in_memory


@pytest.fixture
def proxy(server: Server) -> Iterator[Any]:
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
