"""A small shop and the bundle that the real training job makes of it, for every test that needs a whole bundle."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes on a machine that others use says nothing.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

TINY_SHOP = Path(__file__).parent / "training" / "tiny_shop.py"

# Every part at its smallest; what is learned does not matter here, only that all of it is there and fits together.
SETTINGS = [
    "slices=[0.5]",
    "warm_epochs=0",
    "finetune.epochs=1",
    "finetune.frozen_layers=0",
    "finetune.bf16=false",
    "finetune.patience=0",
    "text.dimensions=16",
    "text.history_length=16",
    "text.tokens.title_tokens=8",
    "text.tokens.description_tokens=8",
    "text.tokens.category_tokens=4",
    "ranker.trees=20",
]


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a simulated shop's dataset: 80 items, 40 users, 600 lists of 8."""
    from training.simulate import simulate
    from training.simulator.config import SimulationConfig

    directory = tmp_path_factory.mktemp("tiny") / "dataset"
    simulate(SimulationConfig(seed=3, items=80, users=40, lists=600, list_length=8, days=8), directory)
    return directory


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    """Return what a retraining job is told to make such a bundle, but for its backbone."""
    return SETTINGS


@pytest.fixture(scope="session")
def tiny_registry(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry with one version, trained from a random BERT of two layers, 32 wide, by ``training.train``.

    Processes that share the tests train it once; each has a copy of its own.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _trained(tiny_dataset, tmp_path_factory.mktemp("tiny-registry"))
    common = tmp_path_factory.getbasetemp().parent / "tiny-registry"
    with common.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not common.exists():
            part = common.with_suffix(".part")
            part.mkdir(exist_ok=True)
            _trained(tiny_dataset, part).rename(common)
    return Path(shutil.copytree(common, tmp_path_factory.mktemp("tiny") / "registry"))


def _trained(dataset: Path, folder: Path) -> Path:
    from threadpoolctl import threadpool_limits

    from recsys.dataset import read_dataset
    from training.config import load_config
    from training.train import train

    backbone = _module(TINY_SHOP).make_backbone(folder / "backbone")
    config = load_config(None, [*SETTINGS, f"text.backbone={backbone}"])
    with threadpool_limits(1):  # so little work is only held up by threads that wait for each other
        train(read_dataset(dataset), folder / "registry", config, lambda *_: None)
    return folder / "registry"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_registry: Path) -> Path:
    """Return the directory of the registry's one bundle; don't change it."""
    from recsys.registry import resolve

    return resolve(tiny_registry)


def _module(path: Path) -> Any:
    """Load a module by its path, as tests are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
