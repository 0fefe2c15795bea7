"""How Python and gRPC run is settled before gRPC is imported; each in a process of its own, which has not done so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SETTLED = "from serving.runtime import settle; settle(); import grpc"


def ran(code: str, **environment: str) -> str:
    """Run some code; returns all that it says."""
    clean = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean | environment
    )
    return done.stdout + done.stderr


def test_grpc_knows_what_it_is_told() -> None:
    assert ran(_SETTLED) == ""


def test_the_control_grpc_says_what_it_does_not_know() -> None:
    assert "Unknown experiment" in ran(_SETTLED, GRPC_EXPERIMENTS="-no_such_thing")


def test_what_the_environment_says_stays() -> None:
    said = ran(f"{_SETTLED}; import os; print(os.environ['GRPC_EXPERIMENTS'])", GRPC_EXPERIMENTS="event_engine_fork")

    assert said == "event_engine_fork\n"


def test_what_is_settled_is_seen() -> None:
    said = ran(f"{_SETTLED}; import os, sys; print(os.environ['GRPC_EXPERIMENTS'], sys.getswitchinterval())")

    assert said == "-event_engine_listener 0.0005\n"


# Runs a command of the service up to where it settles, and says whether gRPC had been imported by then.
_UNTIL_SETTLED = """
import sys, serving.runtime
def settle():
    print("grpc" in sys.modules)
    sys.exit()
serving.runtime.settle = settle
import recsys.cli
sys.argv = ["recsys", *{words}]
recsys.cli.main()
"""


@pytest.mark.parametrize("words", [["serve", "nowhere"], ["worker"]])
def test_a_server_settles_before_grpc_is_imported(words: list[str]) -> None:
    assert ran(_UNTIL_SETTLED.format(words=words), RECSYS_REGISTRY="nowhere") == "False\n"


def test_the_command_line_imports_no_grpc_before_it_is_settled() -> None:
    imported = "import recsys.cli.service, serving.config, serving.runtime, sys; print('grpc' in sys.modules)"

    assert ran(imported) == "False\n"
