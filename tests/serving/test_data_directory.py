"""One server to a data directory."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from serving.data_directory import DataDirectory


def test_a_second_server_is_refused_until_the_first_has_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "live"
    with closing(DataDirectory(path, late_window_s=3_600)) as first:
        with pytest.raises(ConfigError, match=r"live is in use by another server; stop that one, or name another"):
            DataDirectory(path, late_window_s=3_600)
        name = first.event_log.name

    with closing(DataDirectory(path, late_window_s=3_600)) as second:
        assert second.event_log.name == name


def test_a_directory_whose_log_is_foreign_is_free_for_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text("foreign" * 1_000)
    with pytest.raises(ConfigError, match="cannot be used as an event log"):
        DataDirectory(tmp_path, late_window_s=3_600)
    (tmp_path / "events.db").unlink()

    DataDirectory(tmp_path, late_window_s=3_600).close()


def test_a_path_that_cannot_be_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"cannot be written .*name another directory with --data"):
        DataDirectory(tmp_path / "file", late_window_s=3_600)


def test_the_command_keeps_events_in_the_registry_unless_told_otherwise(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    (registry / "bundles").mkdir(parents=True)

    def serve(*words: str) -> str:
        command = [sys.executable, "-m", "recsys.cli", "serve", *words, "--port", "0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "RegistryError" in serve(str(registry))
    assert (registry / "live" / "events.db").is_file()
    assert "RegistryError" in serve(str(registry), "--data", str(tmp_path / "other"))
    assert (tmp_path / "other" / "events.db").is_file()


def test_nothing_is_put_into_a_bundle_that_is_served_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    command = [sys.executable, "-m", "recsys.cli", "serve", str(tmp_path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
