"""The ranker's table is text, its places in the list, the text prior, and behaviour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.features import TEXT_COLUMNS, assemble, column_names

OFFSETS = np.array([0, 2, 3])
NAMES = ("item_rate", "item_views", "item_clicks")
NONE = np.full((3, 3), np.nan, np.float32)
LOGITS = st.floats(-30, 30, width=32)


def prior(logit: float, rate: float, views: float, clicks: float) -> float:
    """Return the text prior of a list of one item."""
    table = assemble(
        np.full((1, 5), logit, np.float32), np.array([[rate, views, clicks]], np.float32), np.array([0, 1]), NAMES
    )
    return float(table[0, column_names(NAMES).index("text_prior_rate")])


def test_columns_are_text_the_prior_ranks_and_z_scores_then_behaviour() -> None:
    names = column_names(("item_rate",))

    assert names[:2] == ("text_logit", "item_logit")
    assert names[5:8] == ("text_prior_rate", "text_logit@rank", "item_logit@rank")
    assert (names[11], names[16]) == ("text_logit@z", "text_prior_rate@z")
    assert names[17:] == ("item_rate",)


def test_every_column_has_its_name() -> None:
    table = assemble(np.zeros((3, 5), np.float32), np.ones((3, 3), np.float32), OFFSETS, NAMES)

    assert table.shape == (3, len(TEXT_COLUMNS) + 3)
    assert table.dtype == np.float32


def test_a_missing_text_stays_missing_and_takes_no_rank() -> None:
    text = np.array([[1.0] * 5, [np.nan] * 5, [2.0] * 5], np.float32)

    table = assemble(text, NONE, OFFSETS, NAMES)

    assert table[:, 6].tolist()[0] == 0.5
    assert np.isnan(table[1, :17]).all()
    assert not np.isnan(table[[0, 2], :17]).any()


def test_behaviour_is_passed_on_as_it_is() -> None:
    behaviour = np.array([[1.5, 2.0, 1.0], [np.nan] * 3, [-2.0, 1.0, 0.0]], np.float32)

    table = assemble(np.zeros((3, 5), np.float32), behaviour, OFFSETS, NAMES)

    assert np.array_equal(table[:, 17:], behaviour, equal_nan=True)


def test_the_text_prior_starts_at_the_promise_of_the_text_and_ends_at_the_clicks_per_view() -> None:
    assert prior(0.0, rate=0.1, views=0, clicks=0) == 0.5
    assert prior(0.0, rate=0.1, views=20, clicks=0) == 0.25
    assert prior(0.0, rate=0.1, views=20_000, clicks=2_000) == pytest.approx(0.1, abs=0.001)


def test_without_counters_the_text_prior_is_the_promise_alone_and_without_a_text_the_plain_rate() -> None:
    assert prior(0.0, rate=np.nan, views=np.nan, clicks=np.nan) == 0.5
    assert prior(np.nan, rate=0.125, views=20, clicks=0) == 0.125
    assert np.isnan(prior(np.nan, rate=np.nan, views=np.nan, clicks=np.nan))


@given(logit=LOGITS, views=st.integers(0, 1 << 20), share=st.floats(0, 1))
def test_the_text_prior_lies_between_the_promise_and_the_clicks_per_view(
    logit: float, views: int, share: float
) -> None:
    clicks = float(int(views * share))
    ends = (1 / (1 + np.exp(-logit)), clicks / views if views else 1 / (1 + np.exp(-logit)))

    assert min(ends) - 1e-6 <= prior(logit, rate=0.1, views=views, clicks=clicks) <= max(ends) + 1e-6


def test_its_z_score_compares_the_items_of_one_list() -> None:
    text = np.array([[0.0] * 5, [2.0] * 5, [1.0] * 5], np.float32)

    table = assemble(text, NONE, OFFSETS, NAMES)

    assert table[:, 16].tolist() == [-1.0, 1.0, 0.0]
