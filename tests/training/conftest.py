"""The tiny shop and its BERT, for the tests of what trains."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("tiny_shop.py")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: on matrices this small, more of them only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_shop() -> Any:
    """The module beside this file; tests are no package, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location("tiny_shop", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_backbone(tiny_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two layers, 32 wide."""
    folder: Path = tiny_shop.make_backbone(tmp_path_factory.mktemp("backbone"))
    return folder
