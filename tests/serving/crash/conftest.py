"""The modules beside this file, and either store, empty."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _beside(name: str) -> Any:
    """Load a module of this folder by its path, as tests are no package."""
    spec = importlib.util.spec_from_file_location(f"crash_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shop() -> Any:
    return _beside("events")


@pytest.fixture(scope="session")
def stores() -> Any:
    return _beside("stores")


@pytest.fixture(scope="session")
def traffic() -> Any:
    return _beside("traffic")


@pytest.fixture
def recount(stores: Any, tiny_bundle: Path, counted_rows: Any) -> Any:
    return stores.Recount(tiny_bundle, counted_rows)


@pytest.fixture(params=["memory", "redis"])
def store(
    request: pytest.FixtureRequest, stores: Any, tiny_bundle: Path, tmp_path: Path, counted_rows: Any, stored_rows: Any
) -> Any:
    """What a server on the data directory ``live`` below ``tmp_path`` learns into."""
    if request.param == "memory":
        return stores.MemoryStore(tiny_bundle, tmp_path / "live", counted_rows)
    own_server: Callable[[], Any] = request.getfixturevalue("own_server")
    return stores.RedisStore(own_server(), stored_rows)


@pytest.fixture
def check(store: Any, stores: Any, recount: Any) -> Callable[[Any], int]:
    """Compare what is known with a recount up to there; returns up to where that is."""

    def compare(log: Any) -> int:
        heard, rows = store.known(log.name)
        assert heard <= log.sequence, "it knows what is in no log"
        assert stores.differing(rows, recount.upto(log, heard)) == {}
        return int(heard)

    return compare
