"""Which requests leave a receipt follows from their ids alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.receipt import chosen


@given(request_id=st.text(max_size=128), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_larger_share_takes_whom_a_smaller_one_takes(request_id: str, shares: tuple[float, float]) -> None:
    small, large = sorted(shares)

    assert chosen(request_id, small) <= chosen(request_id, large)
    assert (chosen(request_id, 0), chosen(request_id, 1)) == (False, True)


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_share_is_kept(share: float) -> None:
    taken = sum(chosen(f"request-{number}", share) for number in range(20_000))

    assert taken == pytest.approx(20_000 * share, rel=0.15)


def test_the_same_requests_are_chosen_on_every_machine() -> None:
    assert [number for number in range(200) if chosen(f"request-{number}", 0.02)] == [52, 91, 184]
