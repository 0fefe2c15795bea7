"""While callers are refused, and a while after, others yield: longer where they were let in too early."""

from __future__ import annotations

import pytest

from serving.yielding import Yielding


def test_others_yield_for_longer_where_somebody_is_refused_soon_after_and_for_less_where_it_takes_long() -> None:
    yielding, now = Yielding(), 100.0
    lengths = ((0.5, 0.4), (2.0, 1.9), (8.0, 7.9), (10.0, 9.9), (10.0, 15.0), (5.0, 10.1), (0.5, 1.1), (0.5, 0.1))
    for yields_s, open_s in lengths:
        yielding.note("interactive", now)
        assert yielding.left_s("batch", now) == pytest.approx(yields_s)
        yielding.let_in("batch")
        now += yields_s + open_s


def test_others_do_not_yield_for_longer_where_they_were_not_there() -> None:
    yielding = Yielding()
    for round_ in range(5):
        yielding.note("interactive", 0.6 * round_)
        assert yielding.left_s("batch", 0.6 * round_) == pytest.approx(0.5)


@pytest.mark.parametrize(("priority", "yields"), [("interactive", False), ("prefetch", False), ("batch", True)])
def test_only_lower_priorities_yield(priority: str, yields: bool) -> None:
    yielding = Yielding()
    yielding.note("prefetch", 1.0)

    assert (yielding.left_s(priority, 1.1) > 0) == yields
    assert yielding.people_refused_s(1.1) is None
