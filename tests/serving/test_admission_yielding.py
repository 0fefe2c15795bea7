"""People come first: where they are refused or dropped, others give way, for longer where that was not enough."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import numpy as np
import pytest

from recsys.errors import Overloaded
from serving.admission import Admission
from tests.serving.doors import Clock, door, enter, filled, learned, refuse_one, rushed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    """A door before one thread, where rankings have taken 20 ms each."""
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
    return admission


def test_for_people_the_queue_does_not_stand_because_of_batches(admission: Admission) -> None:
    with ExitStack() as rush:
        rushed(admission, rush, "batch")
    with ExitStack() as stack:
        assert filled(admission, stack) == 13  # a burst of people, as if nobody else were there
        with pytest.raises(Overloaded):
            enter(stack, admission, priority="batch")


def test_for_how_long_people_have_been_refused_is_known_and_batches_are_not_people(
    clock: Clock, admission: Admission
) -> None:
    with ExitStack() as rush:
        rushed(admission, rush, "batch")
        with pytest.raises(Overloaded, match="after the deadline"):
            enter(rush, admission, 0.001)
        assert admission.people_refused_s() is None
        filled(admission, rush)
        for _ in range(4):
            refuse_one(admission)
            clock.now += 0.4
        assert admission.people_refused_s() == pytest.approx(1.6)
        clock.now += 0.2
        assert admission.people_refused_s() is None
        refuse_one(admission)
        assert admission.people_refused_s() == 0


def test_while_people_are_refused_nobody_else_is_let_in(clock: Clock, admission: Admission) -> None:
    with ExitStack() as burst:
        filled(admission, burst)
    for refused in (True, False):
        with ExitStack() as idle:  # as a server now is that has just refused people
            if refused:
                with pytest.raises(Overloaded, match="more is asked than can be answered"):
                    enter(idle, admission, priority="prefetch")
                enter(idle, admission)
            else:
                enter(idle, admission, priority="prefetch")
        clock.now += 0.51


def test_who_yields_is_told_for_how_long(clock: Clock, admission: Admission) -> None:
    with ExitStack() as burst:
        filled(admission, burst)
    clock.now += 0.1
    with ExitStack() as idle, pytest.raises(Overloaded) as refused:
        enter(idle, admission, priority="batch")

    assert refused.value.after_s == pytest.approx(0.4)


def test_where_people_are_refused_as_soon_as_others_were_let_in_again_others_yield_for_longer(
    clock: Clock, admission: Admission
) -> None:
    for yields_s in (0.5, 2.0):
        with ExitStack() as rush:
            filled(admission, rush)
        with ExitStack() as idle, pytest.raises(Overloaded) as refused:
            enter(idle, admission, priority="batch")
        assert refused.value.after_s == pytest.approx(yields_s)
        clock.now += yields_s + 0.1
        with ExitStack() as idle:
            enter(idle, admission, priority="batch")


def test_who_only_yields_has_nobody_yield_to_him(clock: Clock, admission: Admission) -> None:
    with ExitStack() as rush:
        filled(admission, rush)
        clock.now += 0.4
        with pytest.raises(Overloaded):
            enter(rush, admission, priority="prefetch")
    clock.now += 0.2
    with ExitStack() as idle:
        enter(idle, admission, priority="batch")


def dropping(admission: Admission, *knocking: str) -> Admission:
    for priority in knocking:
        with suppress(Overloaded):
            admission.knock(2.0, priority)
    admission.dropping(3)
    return admission


def test_others_are_let_in_again_more_and_more_of_them(clock: Clock, admission: Admission) -> None:
    dropping(admission, "interactive")
    clock.now += 0.5  # from here on the door opens, within a second
    let_in = []
    for _ in range(1_200):
        clock.now += 0.001
        with suppress(Overloaded):
            admission.knock(2.0, "batch")
            let_in.append(clock.now)
    admission.knock(2.0, "interactive")

    tenths, _ = np.histogram(let_in, 12, (100.5, 101.7))
    assert tenths.tolist() == pytest.approx([5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 100, 100], abs=1)


def test_what_is_dropped_counts_as_people_where_people_ask_and_others_yield(admission: Admission) -> None:
    dropping(admission, "batch", "interactive")
    assert admission.people_refused_s() == 0
    with ExitStack() as idle, pytest.raises(Overloaded):
        enter(idle, admission, priority="batch")


def test_where_batches_alone_are_dropped_batches_are_let_in(clock: Clock, admission: Admission) -> None:
    admission.knock(2.0, "interactive")
    clock.now += 1.1
    dropping(admission, "batch")
    assert admission.people_refused_s() is None
    with ExitStack() as idle:
        enter(idle, admission, priority="batch")
