"""A histogram shows what prometheus_client's own shows, however its observations come."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from serving.telemetry.histogram import Histogram

BUCKETS = {"seconds": (0.0, 0.5, 1.0, 2.5), "score": (-8.0, 0.0, 8.0)}
# Eighths, which add up to the same in any order; bounds are among them.
VALUES = st.integers(-80, 80).map(lambda eighths: eighths / 8) | st.just(math.inf)


def page(registry: CollectorRegistry) -> list[str]:
    return generate_latest(registry).decode().splitlines()


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), VALUES), max_size=40), st.sampled_from(sorted(BUCKETS)))
def test_it_shows_what_the_librarys_own_shows(told: list[tuple[str, float]], name: str) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram(name, "Says.", BUCKETS[name], "kind", registry=ours)
    own = prometheus_client.Histogram(name, "Says.", ("kind",), buckets=BUCKETS[name], registry=theirs)
    for kind, value in told:
        histogram.labels(kind).observe(value)
        own.labels(kind).observe(value)

    assert page(ours) == [line for line in page(theirs) if "_created" not in line]


def test_one_without_a_label_is_there_before_its_first_observation() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "Says.", (0.5,), registry=registry)

    assert registry.get_sample_value("seconds_count") == 0
    histogram.observe(0.5)
    assert registry.get_sample_value("seconds_bucket", {"le": "0.5"}) == 1


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    Histogram("seconds", "Says.", (0.5,), registry=registry)

    with pytest.raises(ValueError, match="seconds"):
        Histogram("seconds", "Says.", (0.5,), registry=registry)


def test_nothing_is_lost_or_counted_twice_where_many_threads_observe_and_one_reads() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "Says.", (0.5,), registry=registry)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(lambda: [histogram.observe(1.0) for _ in range(5_000)]) for _ in range(4)]
        while not all(each.done() for each in done):
            generate_latest(registry)

    assert registry.get_sample_value("seconds_count") == 20_000
    assert registry.get_sample_value("seconds_sum") == 20_000


def test_a_few_hundred_observations_wait_at_most_where_nobody_reads() -> None:
    series = Histogram("seconds", "Says.", (0.5,), "kind", registry=CollectorRegistry()).labels("a")
    for _ in range(5_000):
        series.observe(0.1)

    assert len(series._waiting) < 256
    assert series.now()[0] == [5_000, 5_000]
