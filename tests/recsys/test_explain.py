"""Reasons say what moved an item against the others of its list."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.explain import reasons

NAMES = ("price", "item_rate", "item_rate@z", "hour_of_day")
TABLE = np.array([[3.0, 0.4, 1.0, 12.0], [5.0, 0.2, -1.0, 12.0]], np.float32)
CONTRIBUTIONS = np.array([[0.1, 0.5, 0.3, 2.0, 7.0], [0.3, -0.1, -0.3, 2.0, 7.0]])


def test_a_figure_and_its_place_in_the_list_are_one_reason() -> None:
    first, _ = reasons(NAMES, TABLE, CONTRIBUTIONS)

    assert [reason.feature for reason in first] == ["item_rate", "price"]
    assert first[0].effect == pytest.approx(0.6)
    assert first[0].value == pytest.approx(0.4)


def test_what_all_items_share_is_no_reason() -> None:
    for told in reasons(NAMES, TABLE, CONTRIBUTIONS):
        assert "hour_of_day" not in [reason.feature for reason in told]


def test_effects_add_up_to_the_distance_from_the_lists_mean() -> None:
    scores = CONTRIBUTIONS.sum(axis=1)

    told = [
        sum(reason.effect for reason in reasons_of_item) for reasons_of_item in reasons(NAMES, TABLE, CONTRIBUTIONS)
    ]

    assert told == pytest.approx((scores - scores.mean()).tolist())


def test_a_lone_item_was_moved_by_nothing() -> None:
    assert reasons(NAMES, TABLE[:1], CONTRIBUTIONS[:1]) == [()]
