"""A bundle that must not be served is refused before this process loads anything of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.bundle import MANIFEST
from recsys.errors import BundleError, RegistryError
from serving.load import load_current


def test_a_registry_without_a_current_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()

    with pytest.raises(RegistryError, match="no current version"):
        load_current(tmp_path)


def test_a_damaged_bundle_is_refused_with_the_check_that_found_it(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"{")

    with pytest.raises(BundleError, match=r"is refused: files: manifest\.json is not JSON"):
        load_current(tmp_path)
