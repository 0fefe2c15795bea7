"""Orders agree with themselves, disagree with their mirror, and everything else lies between."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.agreement import kendall_tau, top_overlap

ORDERS = st.permutations([f"item-{number}" for number in range(7)])


@given(one=ORDERS, other=ORDERS)
def test_kendalls_tau_counts_pairs(one: list[str], other: list[str]) -> None:
    alike = [other.index(a) < other.index(b) for a, b in combinations(one, 2)]

    assert kendall_tau(one, other) == pytest.approx((2 * sum(alike) - len(alike)) / len(alike))
    assert kendall_tau(one, other) == pytest.approx(kendall_tau(other, one))
    assert kendall_tau(one, one) == 1.0
    assert kendall_tau(one, one[::-1]) == -1.0


def test_two_neighbours_that_change_places_cost_one_pair() -> None:
    assert kendall_tau(["a", "b", "c", "d"], ["b", "a", "c", "d"]) == pytest.approx(4 / 6)


@pytest.mark.parametrize("other", [["a"], ["a", "c"], ["a", "a"]])
def test_orders_of_other_items_are_refused(other: list[str]) -> None:
    with pytest.raises(ValueError, match="not of the same items"):
        kendall_tau(["a", "b"], other)


def test_without_pairs_orders_agree() -> None:
    assert kendall_tau([], []) == kendall_tau(["a"], ["a"]) == 1.0


def test_the_overlap_of_the_top_ignores_its_order() -> None:
    assert top_overlap(["a", "b", "c", "d"], ["b", "a", "d", "c"], 2) == 1.0
    assert top_overlap(["a", "b", "c", "d"], ["c", "a", "d", "b"], 2) == 0.5
    assert top_overlap([], [], 3) == 1.0
