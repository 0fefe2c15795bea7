"""One at a time is alone with a GPU, for a moment; others wait, and nothing is freed meanwhile."""

from __future__ import annotations

import gc
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
        self._thing = Thing()
        self.thing = weakref.ref(self._thing)
        turns.keep_for(self, self._thing)


@pytest.fixture
def turns() -> GpuTurns:
    return GpuTurns()


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


def test_what_an_owner_had_is_freed_by_who_is_at_work_after_it(turns: GpuTurns) -> None:
    owner = Owner(turns)
    thing = owner.thing
    work(turns)
    assert thing() is not None, "it was freed while its owner lives"
    del owner
    assert thing() is not None, "it was freed where the owner ended, which may be in the midst of a recording"
    work(turns)

    assert thing() is None


def test_while_somebody_is_alone_nothing_is_freed(turns: GpuTurns) -> None:
    owner = Owner(turns)
    thing = owner.thing
    with turns.at_work(), turns.alone():
        del owner
        assert thing() is not None
    work(turns)

    assert thing() is None


@pytest.mark.parametrize("ends", ["before", "after"])
def test_what_is_on_a_gpu_that_is_lost_stays_for_ever(ends: str) -> None:
    turns = GpuTurns()
    owner = Owner(turns)
    thing = owner.thing
    if ends == "before":
        del owner
    turns.keep_for_ever()
    work(turns)
    owner = None
    del turns
    gc.collect()

    assert thing() is not None


def test_many_threads_are_at_work_alone_and_let_go_without_waiting_for_ever(turns: GpuTurns) -> None:
    def busy(number: int) -> int:
        times = 0
        for step in range(300):
            with turns.at_work(opening=(step + number) % 50 == 0):
                things.append(Owner(turns).thing)
                with turns.alone() as found:
                    inside.append(found)
                    assert not found or inside.count(True) == 1
                    times += found
                    inside.remove(found)
        return times

    things: list[weakref.ref[Thing]] = []
    inside: list[bool] = []
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(busy, range(4), timeout=60)) > 0
    work(turns)
    assert not any(thing() for thing in things)
    with turns.at_work():
        assert alone(turns)
