"""The last minutes of a method, in memory that does not grow, and the age of a state."""

from __future__ import annotations

import math

from serving.telemetry.recent import Recent
from serving.telemetry.state_age import StateAge


def test_calls_of_the_last_five_minutes_count_and_older_ones_do_not() -> None:
    now = [1_000.0]
    recent = Recent(clock=lambda: now[0])
    recent.add("OK", 0.1)
    now[0] += 200
    for code in ("OK", "INTERNAL", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT"):
        recent.add(code, 0.1)

    assert (recent.now("Rank").calls, recent.now("Rank").failed, recent.now("Rank").refused) == (5, 2, 1)
    now[0] += 150
    assert recent.now("Rank").calls == 4
    now[0] += 300
    assert (recent.now("Rank").calls, recent.now("Rank").failed) == (0, 0)


def test_half_and_99_percent_are_of_the_newest_calls() -> None:
    recent = Recent(clock=lambda: 0.0)
    for milliseconds in range(1, 101):
        recent.add("OK", milliseconds / 1e3)

    assert (recent.now("Rank").p50_s, recent.now("Rank").p99_s) == (0.05, 0.099)
    for _ in range(5_000):
        recent.add("OK", 1.0)
    assert recent.now("Rank").p50_s == 1.0
    assert len(recent._seconds) == 2_048


def test_a_method_that_nobody_called_has_no_latency() -> None:
    assert math.isnan(Recent().now("Rank").p99_s)


def test_a_state_is_as_old_as_what_it_learned_last() -> None:
    now, versions = [100.0], {"log": 5}
    age = StateAge(lambda: versions, 40_000_000, clock=lambda: now[0])

    assert age.look() == 60
    versions["log"] = 6
    assert age.look() == 0
    now[0] = 130.0
    assert age.look() == 30


def test_a_clock_that_goes_back_makes_no_age_negative() -> None:
    assert StateAge(dict, 90_000_000, clock=lambda: 80.0).look() == 0
