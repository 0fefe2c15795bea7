"""A request that could not be answered in time is refused at once; what waits is little, and by priority."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from recsys.errors import Overloaded, TooLate
from serving.concurrency_limit import ConcurrencyLimit
from serving.refusals import Reason, Refusals
from serving.yielding import SHARES
from tests.serving.doors import Clock, door, enter, filled, learned, rushed


def test_the_queue_is_of_bounded_length() -> None:
    admission = door()
    with ExitStack() as stack:
        for _ in range(4):
            enter(stack, admission)
        with pytest.raises(Overloaded, match="too many requests wait"):
            enter(stack, admission)

    assert (admission.waiting, admission.refusals.total) == (0, 1)


@pytest.mark.parametrize(("priority", "places"), [("interactive", 8), ("prefetch", 4), ("batch", 2)])
def test_a_lower_priority_finds_the_queue_full_earlier(priority: str, places: int) -> None:
    admission = door(most_waiting=8)
    with ExitStack() as stack:
        for _ in range(places):
            enter(stack, admission, priority=priority)
        with pytest.raises(Overloaded):
            enter(stack, admission, priority=priority)
        if priority != "interactive":
            enter(stack, admission)


def test_what_would_come_too_late_is_refused_and_told_when_to_return() -> None:
    admission = door()
    learned(admission, 0.1)
    with ExitStack() as stack:
        enter(stack, admission, 0.25)
        enter(stack, admission, 0.25)
        with pytest.raises(Overloaded, match="after the deadline") as refused:
            enter(stack, admission, 0.25)
        enter(stack, admission, 0.35)

    assert refused.value.after_s == pytest.approx(0.2)


def test_more_threads_let_more_in() -> None:
    admission = door(threads=2)
    learned(admission, 0.1)
    with ExitStack() as stack:
        for _ in range(3):
            enter(stack, admission, 0.25)


def test_one_slow_ranking_does_not_shut_the_door() -> None:
    admission = door()
    learned(admission, 60.0)
    learned(admission, 0.1)

    assert admission.refusals.total == 0


def test_the_control_a_door_that_waits_for_somebody_would_stay_shut() -> None:
    admission = door()
    learned(admission, 60.0)
    with ExitStack() as stack:
        enter(stack, admission).begin()
        with pytest.raises(Overloaded):
            enter(stack, admission)


def test_a_burst_may_fill_the_queue_which_may_not_stand() -> None:
    admission = door(most_waiting=64)
    learned(admission, 0.02)
    with ExitStack() as burst:
        assert rushed(admission, burst) == 13  # ahead of the last one 12 rankings wait
    with ExitStack() as rush:
        assert filled(admission, rush) == 7

    assert admission.refusals.by_reason()["standing",] == 22


@pytest.mark.parametrize(("left_s", "places"), [(0.1, 13), (0.5, 21), (9.0, 41)])
def test_a_burst_of_short_rankings_may_wait_for_a_fifth_of_what_callers_allow(left_s: float, places: int) -> None:
    admission = door(most_waiting=64)
    learned(admission, 0.005)
    with ExitStack() as burst:
        enter(burst, admission).begin()
        for _ in range(places):
            enter(burst, admission, left_s)
        with pytest.raises(Overloaded, match="more is asked than can be answered"):
            enter(burst, admission, left_s)


def test_the_queue_stands_no_more_once_most_are_let_in() -> None:
    admission = door(most_waiting=64)
    learned(admission, 0.02)
    with ExitStack() as rush:
        rushed(admission, rush)
    for _ in range(60):
        with ExitStack() as alone:
            enter(alone, admission)
    with ExitStack() as burst:
        assert filled(admission, burst) == 13


def test_the_control_a_server_that_does_not_shed_takes_everything() -> None:
    admission = door(sheds=False)
    learned(admission, 0.02)
    with ExitStack() as stack:
        for _ in range(1_000):
            enter(stack, admission)

        assert (admission.waiting, admission.refusals.total) == (1_000, 0)


@pytest.mark.parametrize(("priority", "places"), [("interactive", 7), ("prefetch", 4), ("batch", 2)])
def test_where_the_queue_stands_a_lower_priority_gets_less_of_it(priority: str, places: int) -> None:
    admission = door(most_waiting=64)
    learned(admission, 0.02)
    with ExitStack() as rush:
        rushed(admission, rush, priority)
    with ExitStack() as stack:
        assert filled(admission, stack, priority) == places
        if priority != "interactive":
            enter(stack, admission)


def test_bursts_do_not_keep_the_queue_short_for_each_other() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
    for _ in range(100):
        with ExitStack() as burst:
            assert rushed(admission, burst) == 13
        clock.now += 1.0


def test_the_control_without_a_pause_they_would() -> None:
    admission = door(most_waiting=64)
    learned(admission, 0.02)
    with ExitStack() as burst:
        assert rushed(admission, burst) == 13
    with ExitStack() as burst:
        assert rushed(admission, burst) == 7


@pytest.mark.parametrize("waiting", [1, 14])
def test_people_who_ask_for_the_impossible_shut_nobody_out(waiting: int) -> None:
    admission = door(most_waiting=64)
    learned(admission, 0.005)
    with ExitStack() as stack:
        for _ in range(waiting):
            enter(stack, admission)
        for _ in range(100):
            with pytest.raises(Overloaded, match="after the deadline"):
                enter(stack, admission, 0.004)
        enter(stack, admission)
    with ExitStack() as idle:
        enter(idle, admission, priority="batch")


def test_how_long_threads_have_ranked_is_known() -> None:
    admission = door(Clock())
    with ExitStack() as stack:
        for seconds in (0.5, 0.25):
            admission.took(enter(stack, admission), seconds)

    assert admission.ranked_s == 0.75


def test_who_knocks_is_refused_as_a_request_of_usual_size_would_be() -> None:
    admission = door(most_waiting=2)
    admission.knock(1.0, "interactive")
    with ExitStack() as stack:
        enter(stack, admission)
        admission.knock(1.0, "interactive")
        enter(stack, admission)
        with pytest.raises(Overloaded, match="too many requests wait"):
            admission.knock(1.0, "interactive")

    assert admission.waiting == 0


def test_a_limit_on_what_is_in_flight_stands_behind_the_queue() -> None:
    admission = door(most_waiting=64, limit=ConcurrencyLimit(least=4, most=64, first=8))
    with ExitStack() as stack:
        assert filled(admission, stack) == 7
        with pytest.raises(Overloaded, match="the more of them are made at once"):
            enter(stack, admission)

    assert admission.refusals.by_reason()["limit",] == 2


def test_the_control_without_a_limit_the_queue_is_filled() -> None:
    admission = door(most_waiting=64)
    with ExitStack() as stack:
        assert filled(admission, stack) == 64


def test_rankings_that_end_teach_the_limit() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(least=1, most=64, first=2)
    admission = door(clock, limit=limit)
    for _ in range(12):
        with admission.admitted(50, 2.0, "interactive") as place:
            clock.now += 0.1
            place.begin()
            admission.took(place, 0.1)

    assert limit.value == 2
    assert limit._limit > 2


def test_refusals_are_told_once_a_second_whatever_their_number() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    with capture_logs() as lines:
        for _ in range(1_000):
            refusals.add(Reason.QUEUE)
        clock.now += 1.0
        refusals.add(Reason.QUOTA)

    assert [{key: line[key] for key in line if key not in ("event", "log_level")} for line in lines] == [
        {"queue": 1},
        {"queue": 999, "quota": 1},
    ]


def test_who_waited_too_long_is_not_computed_any_more() -> None:
    clock = Clock()
    admission = door(clock)
    with admission.admitted(50, 2.0, "interactive") as place:
        clock.now += 2.0
        with pytest.raises(TooLate):
            place.begin()


def test_deadlines_are_given_and_capped() -> None:
    admission = door()

    assert [admission.time_left(told) for told in (None, 0.3, 60.0)] == [2.0, 0.3, 10.0]


@given(st.lists(st.tuples(st.sampled_from(list(SHARES)), st.floats(0.001, 3), st.booleans()), max_size=30))
def test_everybody_who_came_in_goes_out(comers: list[tuple[str, float, bool]]) -> None:
    admission = door(threads=2, most_waiting=5)
    learned(admission, 0.1)
    with ExitStack() as stack:
        entered = 0
        for priority, left_s, begins in comers:
            try:
                place = enter(stack, admission, left_s, priority)
            except Overloaded:
                continue
            entered += 1
            if begins:
                place.begin()
            assert admission.waiting <= 5
    assert admission.waiting == 0
    assert admission.refusals.total == len(comers) - entered
    enter(stack, admission)  # and the door is open
    stack.close()
