"""Who types a command sees what it says, and what it would do without being told more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.cli.commands import app
from recsys.errors import RegistryError


@pytest.mark.parametrize(
    ("variables", "speaks"),
    [
        ({}, True),
        ({"RANK": "7"}, True),
        ({"RANK": "0", "MASTER_ADDR": "x"}, True),
        ({"RANK": "1", "MASTER_ADDR": "x"}, False),
    ],
)
def test_only_the_further_processes_of_a_training_are_silent(variables: dict[str, str], speaks: bool) -> None:
    program = "from recsys.cli.console import console; console.print('here')"
    others = {name: value for name, value in os.environ.items() if name not in ("RANK", "MASTER_ADDR")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=others | variables, capture_output=True, text=True, check=True
    )

    assert done.stdout == ("here\n" if speaks else "")


def test_the_help_says_what_holds_where_nothing_is_given() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output

    assert "[default: (127.0.0.1)]" in shown
    assert "[default: (live in the registry)]" in shown


def test_a_registry_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    mistyped = CliRunner().invoke(app, ["bundle", "list", str(tmp_path / "registri")])
    assert isinstance(mistyped.exception, RegistryError)
    assert "registri is no directory" in str(mistyped.exception)

    empty = CliRunner().invoke(app, ["bundle", "list", str(tmp_path)])
    assert (empty.exit_code, "no versions in" in empty.output) == (0, True)
