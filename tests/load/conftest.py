"""The modules beside this file, and how long the runs are."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest


def _beside(name: str) -> Any:
    """Load a module of this folder by its path, as tests are no package."""
    if (known := sys.modules.get(f"load_{name}")) is not None:
        return known
    spec = importlib.util.spec_from_file_location(f"load_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def beside() -> Callable[[str], Any]:
    return _beside


@pytest.fixture(scope="session")
def messages() -> Any:
    return _beside("messages")


@pytest.fixture(scope="session")
def inside() -> Any:
    return _beside("inside")


@pytest.fixture(scope="session")
def leaks() -> Any:
    return _beside("leaks")


@pytest.fixture(scope="session")
def memory() -> Any:
    return _beside("memory")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show a line of a long run as it comes."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")
            sys.stdout.flush()

    return write


@pytest.fixture(scope="session")
def known(tiny_bundle: Path) -> Mapping[str, Sequence[str]]:
    """Names that mean something to the bundle, by the field that they stand in."""
    import polars as pl

    from recsys.dataset.columns import ITEMS

    items = pl.read_parquet(tiny_bundle / "items.parquet")
    further = [name for name in items.columns if name not in {column.name for column in ITEMS}]
    return {
        "item_id": items["item_id"].to_list()[:60],
        "user_id": [f"user-{n}" for n in range(40)],
        "key": further or ["brand"],
        "category": items["category"].unique().sort().to_list()[:5],
    }
