"""Threads share the work of one pass where they are idle, and nobody waits for one that is not."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

from recsys.crew import Crew


def test_every_job_is_done_once_however_many_threads_there_are() -> None:
    for threads in (1, 2, 5):
        crew = Crew(threads)
        done: list[int] = []
        for _ in range(50):
            done.clear()
            crew.share([partial(done.append, number) for number in range(7)])
            assert sorted(done) == [0, 1, 2, 3, 4, 5, 6]
        crew.close()


def test_no_jobs_are_done_at_once() -> None:
    Crew(2).share([])


def test_two_threads_work_at_the_same_time() -> None:
    met = threading.Barrier(2, timeout=10)

    Crew(2).share([lambda: met.wait() and None] * 2)  # alone, the first would wait for the second for ever


def test_a_crew_of_one_works_alone_in_the_callers_thread() -> None:
    names: list[str] = []

    Crew(1).share([lambda: names.append(threading.current_thread().name)] * 5)

    assert set(names) == {threading.current_thread().name}


def test_who_brings_work_while_all_are_busy_does_it_himself() -> None:
    crew, busy, release = Crew(2), threading.Barrier(3, timeout=10), threading.Event()

    def hold() -> None:
        busy.wait()
        release.wait(10)

    first = threading.Thread(target=crew.share, args=[[hold, hold]])
    first.start()
    busy.wait()  # both threads of the crew are held
    names: list[str] = []
    crew.share([lambda: names.append(threading.current_thread().name)] * 3)
    release.set()
    first.join(10)

    assert names == [threading.current_thread().name] * 3


def test_an_error_is_raised_when_all_have_ended() -> None:
    done: list[int] = []

    def broken() -> None:
        raise KeyError("a job's own")

    with pytest.raises(KeyError, match="a job's own"):
        Crew(2).share([broken, *[partial(done.append, number) for number in range(5)]])

    assert sorted(done) == [0, 1, 2, 3, 4]


def test_many_callers_at_once_get_their_own_work_done() -> None:
    crew = Crew(3)
    sums = np.zeros((8, 200), np.int64)

    def bring(caller: int) -> None:
        for place in range(200):
            parts = np.zeros(4, np.int64)
            crew.share([partial(parts.__setitem__, number, number + caller) for number in range(4)])
            sums[caller, place] = parts.sum()

    callers = [threading.Thread(target=bring, args=[caller]) for caller in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)

    assert [set(row) for row in sums.tolist()] == [{6 + 4 * caller} for caller in range(8)]


def test_a_closed_crew_still_works() -> None:
    crew, done = Crew(2), []
    crew.share([lambda: None] * 2)
    crew.close()
    crew.share([partial(done.append, 1), partial(done.append, 2)])

    assert done == [1, 2]
