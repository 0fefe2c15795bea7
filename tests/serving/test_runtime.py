"""How Python and gRPC run is settled before gRPC is imported; each in a process of its own, which has not done so."""

from __future__ import annotations

import ctypes
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


# Threads that each keep some memory; how many arenas there are then, by glibc's own account.
_ARENAS = """
import ctypes, re, threading
def keep():
    kept = [ctypes.create_string_buffer(5_000) for _ in range(10)]
    together.wait()
together = threading.Barrier(9)
threads = [threading.Thread(target=keep) for _ in range(8)]
[each.start() for each in threads]
libc = ctypes.CDLL(None)
libc.malloc_stats()
together.wait()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="another C library than glibc")
def test_threads_share_two_arenas() -> None:
    assert ran(f"{_SETTLED}\n{_ARENAS}").count("Arena") == 2


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="another C library than glibc")
def test_the_control_of_itself_glibc_makes_more() -> None:
    assert ran(_ARENAS).count("Arena") > 2


def test_the_command_line_imports_no_grpc_before_it_is_settled() -> None:
    imported = "import recsys.cli.service, serving.config, serving.runtime, sys; print('grpc' in sys.modules)"

    assert ran(imported) == "False\n"
