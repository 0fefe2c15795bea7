"""Which lists are for training and which for the test: the one rule that the training job and evaluation share."""

from __future__ import annotations

import polars as pl

TEST_SHARE = 0.2


def split_is_given(impressions: pl.DataFrame) -> bool:
    """Tell whether the dataset itself says which lists are for the test."""
    return impressions["split"].is_not_null().any()


def test_lists(impressions: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide an impressions table (see ``recsys.dataset``) into training and test lists, keeping its order.

    Where ``split`` is given, the test lists are those it calls "test". Otherwise they are the newest 20 %, and a
    moment is never divided: lists shown at the same time as the oldest test list are test lists too.
    """
    if split_is_given(impressions):
        is_test = (impressions["split"] == "test").fill_null(value=False)
    elif len(impressions):
        oldest = impressions["ts"].sort()[int(len(impressions) * (1 - TEST_SHARE))]
        is_test = impressions["ts"] >= oldest
    else:
        return impressions, impressions
    return impressions.filter(~is_test), impressions.filter(is_test)


test_lists.__test__ = False  # type: ignore[attr-defined]  # pytest would take the name for a test
