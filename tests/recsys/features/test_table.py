"""The ranker's table is text, its places in the list, and behaviour."""

from __future__ import annotations

import numpy as np

from recsys.features import TEXT_COLUMNS, assemble, column_names

OFFSETS = np.array([0, 2, 3])


def test_columns_are_text_then_its_ranks_and_z_scores_then_behaviour() -> None:
    names = column_names(("item_rate",))

    assert names[:2] == ("text_logit", "item_logit")
    assert names[5:7] == ("text_logit@rank", "item_logit@rank")
    assert names[10] == "text_logit@z"
    assert names[15:] == ("item_rate",)


def test_every_column_has_its_name() -> None:
    table = assemble(np.zeros((3, 5), np.float32), np.ones((3, 4), np.float32), OFFSETS)

    assert table.shape == (3, len(TEXT_COLUMNS) + 4)
    assert table.dtype == np.float32


def test_a_missing_text_stays_missing_and_takes_no_rank() -> None:
    text = np.array([[1.0] * 5, [np.nan] * 5, [2.0] * 5], np.float32)

    table = assemble(text, np.zeros((3, 1), np.float32), OFFSETS)

    assert table[:, 5].tolist()[0] == 0.5
    assert np.isnan(table[1, :15]).all()
    assert not np.isnan(table[[0, 2]]).any()


def test_behaviour_is_passed_on_as_it_is() -> None:
    behaviour = np.array([[1.5], [np.nan], [-2.0]], np.float32)

    table = assemble(np.zeros((3, 5), np.float32), behaviour, OFFSETS)

    assert np.array_equal(table[:, 15:], behaviour, equal_nan=True)
