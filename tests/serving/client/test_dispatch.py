"""Whatever happens to its tries, a call keeps its deadline, its number of tries and its allowance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from serving.client.allowance import Allowance
from serving.client.dispatch import Dispatch, Listen, Send, Sleep
from serving.client.ended import Ended

CODES = [
    StatusCode.OK,
    StatusCode.UNAVAILABLE,
    StatusCode.CANCELLED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.INTERNAL,
]


@dataclass
class World:
    """Lanes whose tries take so long and end so, one after the other; time passes only in it."""

    fates: list[tuple[float, StatusCode, str | None]]
    now: float = 1_000.0
    sends: list[Send] = field(default_factory=list)
    latest: float = 0.0

    def clock(self) -> float:
        return self.now

    def lead(self, course: Any) -> Ended:
        """Follow a course as a driver would, and note the latest moment that it may have led to."""
        running: list[tuple[float, Ended]] = []
        said: Ended | None = None
        while True:
            try:
                step = course.send(said)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            said = None
            match step:
                case Send(lane, within_s, alone):
                    takes, code, pushback = self.fates.pop(0)
                    self.sends.append(step)
                    self.latest = max(self.latest, self.now + within_s)
                    if takes >= within_s:
                        takes, code, pushback = within_s, StatusCode.DEADLINE_EXCEEDED, None
                    running.append((self.now + takes, Ended(lane=lane, code=code, pushback=pushback)))
                    if alone:
                        self.now, said = running.pop()
                case Listen(for_s):
                    end = self.now + for_s
                    self.latest = max(self.latest, end)
                    running.sort(key=lambda each: each[0])
                    if running[0][0] <= end:
                        self.now, said = running.pop(0)
                    else:
                        self.now = end
                case Sleep(for_s):
                    self.now += for_s
                    self.latest = max(self.latest, self.now)


def fates(draw_codes: Sequence[StatusCode]) -> st.SearchStrategy[Any]:
    one = st.tuples(
        st.floats(0, 2), st.sampled_from(draw_codes), st.sampled_from([None, "-1", "0", "70", "900", "99999"])
    )
    return st.lists(one, min_size=6, max_size=6)


@given(fates=fates(CODES), deadline_s=st.floats(0.01, 3), hedged=st.booleans(), draw=st.floats(0, 1))
def test_no_step_leads_beyond_the_deadline(fates: Any, deadline_s: float, hedged: bool, draw: float) -> None:
    world = World(fates)
    dispatch = Dispatch(3, hedge_after_s=0.1, clock=world.clock, draw=lambda: draw)
    world.lead(dispatch.course(deadline_s, hedged=hedged))

    assert world.latest <= 1_000 + deadline_s + 1e-9
    assert len(world.sends) <= (6 if hedged else 3)


@given(fates=fates(CODES), hedged=st.booleans())
def test_every_lane_is_given_back(fates: Any, hedged: bool) -> None:
    world = World(fates)
    dispatch = Dispatch(3, hedge_after_s=0.1, clock=world.clock)
    world.lead(dispatch.course(1, hedged=hedged))

    assert [lane.outstanding for lane in dispatch._lanes._lanes] == [0, 0, 0]


def test_a_course_that_is_broken_off_gives_its_lanes_back() -> None:
    dispatch = Dispatch(2, hedge_after_s=0.1)
    for hedged in (True, False):
        course = dispatch.course(1, hedged=hedged)
        next(course)
        assert sum(lane.outstanding for lane in dispatch._lanes._lanes) == 1
        course.close()
    assert sum(lane.outstanding for lane in dispatch._lanes._lanes) == 0


def test_waits_grow_and_are_drawn_between_nothing_and_their_length() -> None:
    away = Ended(lane=0, code=StatusCode.UNAVAILABLE)

    draws = {share: Dispatch(1, draw=partial(float, share)) for share in (0.0, 0.5, 1.0)}
    waits = [[dispatch._wait_s(away, tried) for tried in range(1, 8)] for dispatch in draws.values()]
    assert waits[0] == [0.0] * 7
    assert waits[1] == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5])
    assert waits[2] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_hedges_and_retries_have_allowances_of_their_own() -> None:
    world = World([(1.0, StatusCode.OK, None)] * 400)
    dispatch = Dispatch(2, hedge_after_s=0.1, clock=world.clock)
    for _ in range(200):
        world.lead(dispatch.course(60, hedged=True))
    # Ten at first, then one for twenty answers; the last answer paid for none.
    assert len(world.sends) == 200 + 10 + 9

    world.fates[:] = [(0.01, StatusCode.UNAVAILABLE, None)] * 400
    world.sends.clear()
    for _ in range(100):
        world.lead(dispatch.course(60))
    assert len(world.sends) == 100 + 10


def test_an_allowance_grows_with_answers_up_to_ten() -> None:
    allowance = Allowance(0.1)
    assert [allowance.spend() for _ in range(11)] == [True] * 10 + [False]

    for _ in range(9):
        allowance.earn()
    assert not allowance.spend()
    allowance.earn()
    assert [allowance.spend(), allowance.spend()] == [True, False]

    for _ in range(1_000):
        allowance.earn()
    assert [allowance.spend() for _ in range(11)] == [True] * 10 + [False]


def test_a_closed_client_tries_no_more() -> None:
    dispatch = Dispatch(1)
    course = dispatch.course(10)
    next(course)
    assert isinstance(course.send(Ended(lane=0, code=StatusCode.CANCELLED)), Sleep)
    dispatch.closed = True
    with pytest.raises(StopIteration) as end:
        next(course)

    assert end.value.value.code is StatusCode.CANCELLED
