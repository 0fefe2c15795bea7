"""The page of settings says what the declarations say."""

from __future__ import annotations

from pathlib import Path

from serving.config import ServerConfig
from serving.settings_page import page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_setting_stands_on_it_but_for_what_processes_tell_each_other() -> None:
    variables = set(ServerConfig.variables().values()) - {"RECSYS_WORKER", "RECSYS_WRITER"}

    assert {line.split("`")[1] for line in page().splitlines() if line.startswith("| `")} == variables


def test_a_setting_is_told_with_its_default_and_its_bounds() -> None:
    assert "| `RECSYS_PORT` | `50051` | from 0 to 65,535 | The port to listen on;" in page()
    assert "| `RECSYS_MODE` | `development` | `development`, `production` |" in page()
    assert "| `RECSYS_SHEDS` | `true` | `true`, `false` |" in page()
