"""The limit on what is in flight follows the latency, by the rule that Netflix/concurrency-limits has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.concurrency_limit import ConcurrencyLimit


def test_it_grows_by_what_may_wait_while_the_latency_stays() -> None:
    limit = ConcurrencyLimit(least=4, most=200, first=20)
    limit.update(0.01, in_flight=20)

    assert limit._limit == pytest.approx(20 * 0.8 + (20 + 4) * 0.2)


def test_it_shrinks_in_proportion_when_the_latency_grows() -> None:
    limit = ConcurrencyLimit(least=4, most=200, first=100)
    for _ in range(30):
        limit.update(0.01, in_flight=10)
    limit.update(0.05, in_flight=100)

    # Five times as long as usual: by half, which is the most at a time, smoothed.
    assert limit._limit == pytest.approx(100 * 0.8 + (100 * 0.5 + 4) * 0.2)


def test_up_to_one_and_a_half_times_the_usual_latency_is_tolerated() -> None:
    limit = ConcurrencyLimit(least=4, most=200, first=100)
    for _ in range(30):
        limit.update(0.010, in_flight=10)
    limit.update(0.0149, in_flight=100)

    assert limit.value == 100


def test_it_does_not_grow_while_less_than_half_of_it_is_used() -> None:
    limit = ConcurrencyLimit(least=4, most=200, first=20)
    limit.update(0.01, in_flight=9)

    assert limit.value == 20


def test_what_was_learned_under_load_is_forgotten() -> None:
    limit = ConcurrencyLimit(least=4, most=200, first=20)
    for _ in range(20):
        limit.update(1.0, in_flight=1)
    before = limit._long
    limit.update(0.1, in_flight=1)

    assert limit._long < before * 0.96


def test_requests_count_by_windows_of_a_second() -> None:
    limit = ConcurrencyLimit(least=4, most=200, first=20)
    for place in range(100):
        limit.saw(0.01, in_flight=20, now=place * 0.009)
    assert limit.value == 20

    limit.saw(0.01, in_flight=20, now=1.0)
    assert limit._limit == pytest.approx(20.8)


def latency(in_flight: int, capacity: int) -> float:
    """A server that computes ``capacity`` at a time: beyond, each one waits for the others."""
    return 0.01 * max(1.0, in_flight / capacity)


def settled(*, guard: bool) -> float:
    """Return the latency of 400 that ask at once for 300 windows, the server's first ten windows calm."""
    limit = ConcurrencyLimit(least=4, most=400, first=400)
    for _ in range(10):
        limit.update(latency(5, capacity=10), in_flight=5)
    for _ in range(300):
        in_flight = min(400, limit.value) if guard else 400
        limit.update(latency(in_flight, capacity=10), in_flight=in_flight)
    return latency(min(400, limit.value) if guard else 400, capacity=10)


def test_it_finds_what_a_server_can_take_of_which_it_knows_nothing() -> None:
    assert settled(guard=True) < 0.1


def test_the_control_without_it_everybody_waits_for_everybody() -> None:
    assert settled(guard=False) == pytest.approx(0.4)


@given(st.lists(st.tuples(st.floats(1e-6, 10), st.integers(0, 500)), max_size=60))
def test_it_stays_within_its_bounds(windows: list[tuple[float, int]]) -> None:
    limit = ConcurrencyLimit(least=4, most=200)
    for seconds, in_flight in windows:
        limit.update(seconds, in_flight=in_flight)
        assert 4 <= limit.value <= 200
