"""Threads that rank go before the one that reads; looked at in threads of the tests' own."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.precedence import give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness on Linux only")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def seen(*, yields: bool) -> tuple[int, set[int], int]:
    """Return the niceness of a thread, of the executor's that it has, and of one that it starts afterwards."""
    found: list[tuple[int, set[int], int]] = []

    def serve() -> None:
        with ThreadPoolExecutor(3) as executor, ThreadPoolExecutor(1) as later:
            if yields:
                give_way(executor, 3)
            together = threading.Barrier(3)

            def rank() -> int:
                together.wait(10)
                return niceness()

            ranking = {each.result() for each in [executor.submit(rank) for _ in range(3)]}
            found.append((niceness(), ranking, later.submit(niceness).result()))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(20)
    return found[0]


def test_whoever_ranks_goes_before_whoever_reads() -> None:
    mine = niceness()

    assert seen(yields=True) == (min(19, mine + 2), {mine}, min(19, mine + 2))


def test_the_control_without_giving_way_all_are_equal() -> None:
    mine = niceness()

    assert seen(yields=False) == (mine, {mine}, mine)
