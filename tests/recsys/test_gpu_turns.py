"""One at a time is alone with a GPU, for a moment; others wait, and nothing is freed meanwhile."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from recsys.gpu_turns import GpuTurns


class Thing:
    """Lies on the GPU."""


class Owner:
    """Has a thing there; ``thing()`` is None once it is freed."""

    def __init__(self, turns: GpuTurns) -> None:
        thing = Thing()
        self.thing = weakref.ref(thing)
        turns.keep_for(self, thing)


@pytest.fixture
def lost() -> list[bool]:
    return [False]


@pytest.fixture
def turns(lost: list[bool]) -> GpuTurns:
    return GpuTurns(lost=lambda: lost[0])


def alone(turns: GpuTurns) -> bool:
    with turns.alone() as found:
        return found


def work(turns: GpuTurns) -> None:
    with turns.at_work():
        pass


def test_who_is_alone_keeps_others_waiting_until_he_is_done(turns: GpuTurns) -> None:
    order: list[str] = []

    def other() -> None:
        with turns.at_work():
            order.append("other")

    with ThreadPoolExecutor(1) as threads, turns.at_work():
        with turns.alone() as found:
            assert found
            waiting = threads.submit(other)
            time.sleep(0.05)
            order.append("alone")
        waiting.result(5)

    assert order == ["alone", "other"]


def test_nobody_is_alone_while_another_is_at_work_for_long(turns: GpuTurns) -> None:
    begun, done = threading.Event(), threading.Event()

    def long() -> None:
        with turns.at_work():
            begun.set()
            done.wait(5)

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(long)
        assert begun.wait(5)
        with turns.at_work():
            assert not alone(turns)
            done.set()
            other.result(5)
            assert alone(turns), "the door stayed shut"


def test_nobody_is_alone_while_a_model_is_opened_or_another_is_alone(turns: GpuTurns) -> None:
    with turns.at_work(opening=True):
        assert not alone(turns)
    with turns.at_work(), turns.alone() as found:
        assert (found, alone(turns)) == (True, False)


def test_the_door_opens_again_after_an_error(turns: GpuTurns) -> None:
    with pytest.raises(KeyError), turns.at_work(), turns.alone():
        raise KeyError

    with turns.at_work():
        assert alone(turns)


def test_what_an_owner_had_goes_with_it(turns: GpuTurns) -> None:
    owner = Owner(turns)
    thing = owner.thing
    assert thing() is not None, "the control"
    del owner

    assert thing() is None


def test_while_somebody_is_alone_nothing_is_freed_and_by_the_next_one_it_is(turns: GpuTurns) -> None:
    owner = Owner(turns)
    thing = owner.thing
    with turns.at_work(), turns.alone():
        del owner
        assert thing() is not None
    work(turns)

    assert thing() is None


def test_what_is_on_a_gpu_that_is_lost_stays(turns: GpuTurns, lost: list[bool]) -> None:
    owner = Owner(turns)
    thing = owner.thing
    lost[0] = True
    del owner
    work(turns)

    assert thing() is not None


def test_many_threads_are_at_work_alone_and_let_go_without_waiting_for_ever(turns: GpuTurns) -> None:
    def busy(number: int) -> int:
        times = 0
        for step in range(300):
            with turns.at_work(opening=(step + number) % 50 == 0):
                Owner(turns)
                times += alone(turns)
        return times

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(busy, range(4), timeout=60)) > 0
    with turns.at_work():
        assert alone(turns)
