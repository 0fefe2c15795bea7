"""A request that could not be answered in time is refused at once; what waits is little, and by priority."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import Overloaded, TooLate
from serving.admission import SHARES, Admission, Place
from serving.client import RankingClient, ServiceError
from serving.config import ServerConfig
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def door(clock: Clock | None = None, *, threads: int = 1, most_waiting: int = 4) -> Admission:
    return Admission(threads=threads, most_waiting=most_waiting, default_s=2.0, most_s=10.0, now=clock or Clock())


def learned(admission: Admission, seconds: float, candidates: int = 50) -> None:
    """Let a ranking of so many candidates have taken so many seconds."""
    with admission.admitted(candidates, 9.0, "interactive") as place:
        place.begin()
        admission.took(place, seconds)


def enter(stack: ExitStack, admission: Admission, left_s: float = 2.0, priority: str = "interactive") -> Place:
    return stack.enter_context(admission.admitted(50, left_s, priority))


def test_the_queue_is_of_bounded_length() -> None:
    admission = door()
    with ExitStack() as stack:
        for _ in range(4):
            enter(stack, admission)
        with pytest.raises(Overloaded, match="too many requests wait"):
            enter(stack, admission)

    assert (admission.waiting, admission.refused) == (0, 1)


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

    assert admission.refused == 0


def test_the_control_a_door_that_waits_for_somebody_would_stay_shut() -> None:
    admission = door()
    learned(admission, 60.0)
    with ExitStack() as stack:
        enter(stack, admission).begin()
        with pytest.raises(Overloaded):
            enter(stack, admission)


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
    assert admission.refused == len(comers) - entered
    enter(stack, admission)  # and the door is open
    stack.close()


@pytest.fixture
def narrow(length_model: Any, serve: Any) -> Iterator[Any]:
    """A server with one thread and room for one to wait."""
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, most_waiting=1, default_deadline_s=0.5)
    model = length_model.LengthModel()
    with serve(model, config) as running:
        yield running
        model.release.set()


def asked(user: str, surface: str) -> pb.RankRequest:
    return pb.RankRequest(user_id=user, surface=surface, candidates=[pb.Candidate(item_id="a")])


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def fill(narrow: Any, others: ThreadPoolExecutor, call: Any) -> list[Any]:
    """Have one computed, and then one wait; the other way round the second would find the queue full."""
    computed = others.submit(call)
    wait_for(lambda: narrow.model.asked)
    waits = others.submit(call)
    wait_for(lambda: narrow.servicer.waiting == 1)
    return [computed, waits]


def test_a_full_server_refuses_at_once_and_says_when_to_come_back(narrow: Any) -> None:
    with grpc.insecure_channel(narrow.address) as channel, ThreadPoolExecutor(2) as others:
        stub = pb_grpc.RankingServiceStub(channel)
        busy = fill(narrow, others, lambda: stub.Rank(asked("ann", "held"), timeout=9))
        with pytest.raises(grpc.RpcError) as refused:
            stub.Rank(asked("cat", "held"), timeout=9)
        narrow.model.release.set()

        assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"]) >= 10
        assert {each.result().items[0].item_id for each in busy} == {"a"}
        assert stub.Rank(asked("cat", ""), timeout=9).items[0].item_id == "a"


def test_a_caller_without_a_deadline_gets_one(narrow: Any) -> None:
    with grpc.insecure_channel(narrow.address) as channel, pytest.raises(grpc.RpcError) as late:
        pb_grpc.RankingServiceStub(channel).Rank(asked("ann", "held"))

    assert late.value.code() is StatusCode.DEADLINE_EXCEEDED
    assert "no answer within 0.5 s" in late.value.details()


def test_health_is_answered_while_the_door_is_shut(narrow: Any) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(narrow.address) as channel, ThreadPoolExecutor(2) as others:
        stub = pb_grpc.RankingServiceStub(channel)
        held = fill(narrow, others, lambda: stub.Rank(asked("ann", "held"), timeout=9))
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        narrow.model.release.set()

        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert all(each.result() for each in held)


def test_the_client_comes_back_when_it_was_told_to(narrow: Any) -> None:
    with RankingClient(narrow.address, deadline_s=9) as client, ThreadPoolExecutor(3) as others:
        busy = fill(narrow, others, lambda: client.rank("ann", ["a"], surface="held"))
        third = others.submit(client.rank, "cat", ["a"])
        wait_for(lambda: narrow.servicer._admission.refused >= 1)
        narrow.model.release.set()

        assert third.result().items[0].item_id == "a"
        assert all(each.result() for each in busy)


def test_a_client_that_may_not_try_again_is_told_so(narrow: Any) -> None:
    with RankingClient(narrow.address, deadline_s=9, tries=1) as client, ThreadPoolExecutor(2) as others:
        busy = fill(narrow, others, lambda: client.rank("ann", ["a"], surface="held"))
        with pytest.raises(ServiceError) as refused:
            client.rank("cat", ["a"])
        narrow.model.release.set()

        assert refused.value.code == "RESOURCE_EXHAUSTED"
        assert all(each.result() for each in busy)
