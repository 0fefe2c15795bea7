"""A request that could not be answered in time is refused at once; what waits is little, and by priority."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from recsys.errors import Overloaded, TooLate
from serving.admission import Admission, Place
from serving.client import RankingClient, ServiceError
from serving.concurrency_limit import ConcurrencyLimit
from serving.config import ServerConfig
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.refusals import Reason, Refusals
from serving.yielding import SHARES


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def door(clock: Clock | None = None, *, threads: int = 1, most_waiting: int = 4, **more: Any) -> Admission:
    return Admission(
        threads=threads, most_waiting=most_waiting, default_s=2.0, most_s=10.0, now=clock or Clock(), **more
    )


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


def filled(admission: Admission, stack: ExitStack, priority: str = "interactive") -> int:
    """Let in as many as get in, the first of them computed; returns how many wait."""
    enter(stack, admission).begin()
    try:
        while True:
            enter(stack, admission, 9.0, priority)
    except Overloaded:
        return admission.waiting


def rushed(admission: Admission, stack: ExitStack, priority: str = "interactive") -> int:
    """Fill the queue, and have as many refused as let the queue stand for this priority; returns how many wait."""
    waiting = filled(admission, stack, priority)
    for _ in range(20):
        with pytest.raises(Overloaded):
            enter(stack, admission, 9.0, priority)
    return waiting


def refuse_one(admission: Admission) -> None:
    with ExitStack() as stack, pytest.raises(Overloaded):
        enter(stack, admission, 9.0)


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


def test_for_people_the_queue_does_not_stand_because_of_batches() -> None:
    admission = door(most_waiting=64)
    learned(admission, 0.02)
    with ExitStack() as rush:
        rushed(admission, rush, "batch")
    with ExitStack() as stack:
        assert filled(admission, stack) == 13  # a burst of people, as if nobody else were there
        with pytest.raises(Overloaded):
            enter(stack, admission, priority="batch")


def test_for_how_long_people_have_been_refused_is_known_and_batches_are_not_people() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
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


def test_while_people_are_refused_nobody_else_is_let_in() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
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


def test_who_yields_is_told_for_how_long() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
    with ExitStack() as burst:
        filled(admission, burst)
    clock.now += 0.1
    with ExitStack() as idle, pytest.raises(Overloaded) as refused:
        enter(idle, admission, priority="batch")

    assert refused.value.after_s == pytest.approx(0.4)


def test_where_people_are_refused_as_soon_as_others_were_let_in_again_others_yield_for_longer() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
    for yields_s in (0.5, 2.0):
        with ExitStack() as rush:
            filled(admission, rush)
        with ExitStack() as idle, pytest.raises(Overloaded) as refused:
            enter(idle, admission, priority="batch")
        assert refused.value.after_s == pytest.approx(yields_s)
        clock.now += yields_s + 0.1
        with ExitStack() as idle:
            enter(idle, admission, priority="batch")


def test_who_only_yields_has_nobody_yield_to_him() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
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


def test_others_are_let_in_again_more_and_more_of_them() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
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


def test_what_is_dropped_counts_as_people_where_people_ask_and_others_yield() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
    dropping(admission, "batch", "interactive")
    assert admission.people_refused_s() == 0
    with ExitStack() as idle, pytest.raises(Overloaded):
        enter(idle, admission, priority="batch")


def test_where_batches_alone_are_dropped_batches_are_let_in() -> None:
    clock = Clock()
    admission = door(clock, most_waiting=64)
    learned(admission, 0.02)
    admission.knock(2.0, "interactive")
    clock.now += 1.1
    dropping(admission, "batch")
    assert admission.people_refused_s() is None
    with ExitStack() as idle:
        enter(idle, admission, priority="batch")


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
    admission = narrow.servicer._admission
    wait_for(lambda: (admission.in_flight, admission.waiting) == (1, 0))
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


def test_a_full_server_does_not_read_what_it_refuses(narrow: Any) -> None:
    with grpc.insecure_channel(narrow.address) as channel, ThreadPoolExecutor(2) as others:
        stub = pb_grpc.RankingServiceStub(channel)
        no_message = channel.unary_unary("/recsys.v1.RankingService/Rank")
        with pytest.raises(grpc.RpcError) as read:
            no_message(b"\xff", timeout=9)
        busy = fill(narrow, others, lambda: stub.Rank(asked("ann", "held"), timeout=9))
        with pytest.raises(grpc.RpcError) as refused:
            no_message(b"\xff", timeout=9)
        narrow.model.release.set()

        assert read.value.code() is StatusCode.INVALID_ARGUMENT
        assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert all(each.result() for each in busy)
    assert narrow.telemetry.registry.get_sample_value("recsys_shed_total", {"reason": "queue"}) == 1


def unread(running: Any) -> int:
    return int(running.telemetry.registry.get_sample_value("recsys_shed_total", {"reason": "unread"}) or 0)


def asleep(running: Any) -> int:
    """Ask for 60 rankings and once for health while the event loop sleeps; how many rankings gRPC itself dropped."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.RankingServiceStub(channel)
        stub.Rank(asked("ann", ""), timeout=9)
        running.loop.call_soon_threadsafe(time.sleep, 1.0)
        time.sleep(0.1)
        rankings = [stub.Rank.future(asked("ann", ""), timeout=9) for _ in range(60)]
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=9)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        codes = [each.code() for each in rankings]
        assert stub.Rank(asked("ann", ""), timeout=9).items
    assert set(codes) <= {StatusCode.OK, StatusCode.RESOURCE_EXHAUSTED, StatusCode.CANCELLED}
    return codes.count(StatusCode.CANCELLED)


def test_what_cannot_even_be_refused_is_dropped_unread_and_counted_and_health_is_not(
    length_model: Any, serve: Any, eventually: Any
) -> None:
    with serve(length_model.LengthModel(), ServerConfig(registry=Path("unused"), port=0, threads=1)) as running:
        dropped = asleep(running)
        eventually(lambda: unread(running) >= dropped)
        time.sleep(0.2)
        assert unread(running) == dropped
    assert dropped >= 60 - 26  # 25 wait to be read at most, and one was taken before


def test_the_control_a_server_that_does_not_shed_reads_all_of_them(length_model: Any, serve: Any) -> None:
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, sheds=False)
    with serve(length_model.LengthModel(), config) as running:
        assert asleep(running) == 0
        assert unread(running) == 0


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
        wait_for(lambda: narrow.servicer._admission.refusals.total >= 1)
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
