"""How Python, gRPC, Polars and LightGBM run is settled before they are imported; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from recsys.crew import usable_cores
from serving.runtime import ENVIRONMENT

_SETTLED = "from serving.runtime import settle; settle(); import grpc"


def ran(code: str, **environment: str) -> str:
    """Run some code; returns all that it says."""
    clean = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
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


def test_polars_leaves_cores_to_those_who_answer() -> None:
    asked = "import polars; print(polars.thread_pool_size())"

    assert int(ran(f"{_SETTLED}; {asked}")) == max(1, usable_cores() // 2)
    # The controls: as Polars comes, which on one core is the same, and as somebody wants it.
    assert int(ran(asked)) == usable_cores()
    assert int(ran(f"{_SETTLED}; {asked}", POLARS_MAX_THREADS="3")) == 3


def test_lightgbm_parses_on_one_core() -> None:
    asked = (
        "import lightgbm, threadpoolctl; "
        "print(max(pool['num_threads'] for pool in threadpoolctl.threadpool_info() if pool['user_api'] == 'openmp'))"
    )

    assert int(ran(f"{_SETTLED}; {asked}")) == 1
    # The controls: as it comes, which on one core is the same, and as somebody wants it.
    assert int(ran(asked)) == usable_cores()
    assert int(ran(f"{_SETTLED}; {asked}", OMP_NUM_THREADS="3")) == 3


# Runs a command up to where it settles, and says which of those that are settled had been imported by then.
_UNTIL_SETTLED = """
import sys, serving.runtime
def settle():
    print({{"grpc", "polars", "lightgbm"}} & sys.modules.keys() or "none")
    sys.exit()
serving.runtime.settle = settle
import recsys.cli
sys.argv = ["recsys", *{words}]
recsys.cli.main()
"""


@pytest.mark.parametrize("words", [["serve", "nowhere"], ["worker"]])
def test_a_server_settles_before_what_it_settles_is_imported(words: list[str]) -> None:
    assert ran(_UNTIL_SETTLED.format(words=words), RECSYS_REGISTRY="nowhere") == "none\n"


def test_other_commands_settle_nothing() -> None:
    said = ran(_UNTIL_SETTLED.format(words=["--help"]))

    assert "Usage" in said
    assert not said.startswith(("none", "{"))


# Has Polars make and forget tables in several threads, and says how much more memory it has kept, in MiB.
_CHURN = """
import os, threading, time
from serving.runtime import settle
if {settled}: settle()
import polars as pl
def kept():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
def churn():
    for number in range(50):
        pl.DataFrame({{"a": [str(number) * 20] * 20_000}}).with_columns(pl.col("a") + "x").filter(pl.col("a") != "y")
churn()
before = kept()
threads = [threading.Thread(target=churn) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(kept() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process occupies")
def test_what_polars_has_freed_is_the_systems_again() -> None:
    settled, not_settled = (
        float(ran(_CHURN.format(settled=settled), POLARS_MAX_THREADS="2")) for settled in (True, False)
    )

    assert settled < not_settled / 2
