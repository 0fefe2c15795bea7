"""A bundle that must not be served is refused before this process loads anything of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import MANIFEST
from recsys.errors import BundleError, RegistryError
from serving.load import load_current, warm_up


def test_a_registry_without_a_current_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()

    with pytest.raises(RegistryError, match="no current version"):
        load_current(tmp_path)


def test_a_damaged_bundle_is_refused_with_the_check_that_found_it(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"{")

    with pytest.raises(BundleError, match=r"is refused: files: manifest\.json is not JSON"):
        load_current(tmp_path)


def test_a_gpu_may_score_otherwise_in_the_last_digits_but_not_order_otherwise(length_model: Any) -> None:
    model = length_model.LengthModel()
    golden = length_model.GOLDEN.model_copy(update={"scores": {"a": 1.001, "bbb": 3.0}})
    model.manifest = length_model.manifest(golden)
    with pytest.raises(BundleError, match=r"'a' scores 1\.0, expected 1\.001"):
        warm_up(model)

    model.providers = ("CUDAExecutionProvider", "CPUExecutionProvider")
    warm_up(model)

    model.manifest = length_model.manifest(golden.model_copy(update={"order": ("a", "bbb")}))
    with pytest.raises(BundleError, match=r"Kendall's tau of -1\.000"):
        warm_up(model)
