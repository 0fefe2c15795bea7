"""A ranker scores, explains itself, and is refused before LightGBM's parser sees a damaged one."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import BundleError
from recsys.ranker import Ranker, check_model_text

TABLE = np.array([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [np.nan, 1.0, -1.0]], np.float32)


def test_a_ranker_knows_its_columns(ranker_text: bytes) -> None:
    assert Ranker.from_text(ranker_text).names == ("a", "b", "c")


def test_a_better_row_scores_higher(ranker_text: bytes) -> None:
    good, bad, _ = Ranker.from_text(ranker_text).predict(TABLE)

    assert good > bad


def test_a_score_depends_on_its_row_alone(ranker_text: bytes) -> None:
    ranker = Ranker.from_text(ranker_text)
    together = ranker.predict(TABLE)

    assert [ranker.predict(TABLE[place : place + 1])[0] for place in range(3)] == together.tolist()
    assert ranker.predict(TABLE[::-1]).tolist() == together[::-1].tolist()
    assert ranker.predict(TABLE, threads=2).tolist() == together.tolist()


def test_contributions_add_up_to_the_score(ranker_text: bytes) -> None:
    ranker = Ranker.from_text(ranker_text)

    assert np.allclose(ranker.contributions(TABLE).sum(axis=1), ranker.predict(TABLE), atol=1e-6)
    assert ranker.contributions(TABLE).shape == (3, 4)


def test_the_columns_that_gained_most_come_first(ranker_text: bytes) -> None:
    ranker = Ranker.from_text(ranker_text)
    gains = dict(zip(ranker.names, ranker._booster.feature_importance("gain"), strict=True))

    assert sorted(ranker.strongest) == ["a", "b", "c"]
    assert [gains[name] for name in ranker.strongest] == sorted(gains.values(), reverse=True)


def test_no_rows_have_no_scores(ranker_text: bytes) -> None:
    ranker = Ranker.from_text(ranker_text)

    assert ranker.predict(TABLE[:0]).shape == (0,)
    assert ranker.contributions(TABLE[:0]).shape == (0, 4)


def test_a_table_of_other_columns_is_our_own_bug(ranker_text: bytes) -> None:
    with pytest.raises(ValueError, match="3 columns"):
        Ranker.from_text(ranker_text).predict(TABLE[:, :2])


def test_a_score_that_is_not_finite_is_refused(ranker_text: bytes) -> None:
    text = re.sub(rb"leaf_value=\S+", b"leaf_value=inf", ranker_text)
    sized = _with_sizes(text)

    with pytest.raises(BundleError, match="not finite"):
        Ranker.from_text(sized).predict(np.repeat(TABLE, 50, axis=0) + np.linspace(-3, 3, 150)[:, None])


def _with_sizes(text: bytes) -> bytes:
    """Make the header fit trees that were edited."""
    start, end = text.index(b"Tree=0\n"), text.index(b"end of trees")
    trees = [b"Tree=" + part for part in text[start:end].split(b"Tree=")[1:]]
    return re.sub(rb"tree_sizes=.*", b"tree_sizes=" + b" ".join(b"%d" % len(tree) for tree in trees), text)


def test_the_guard_passes_what_lightgbm_writes(ranker_text: bytes) -> None:
    check_model_text(ranker_text)


@given(share=st.floats(0, 0.999))
@settings(max_examples=60, deadline=None)
def test_every_torn_model_is_refused(ranker_text: bytes, share: float) -> None:
    whole = ranker_text[: ranker_text.index(b"end of trees")]

    with pytest.raises(BundleError, match="damaged"):
        check_model_text(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (rb"^tree\n", b"forest\n", "begin with a header"),
        (rb"max_feature_idx=2", b"max_feature_idx=9", "other features"),
        (rb"tree_sizes=(\d)", rb"tree_sizes=1\1", "begin where it should|does not end|twice"),
        (rb"tree_sizes=.*", b"tree_sizes=many", "no sizes"),
        (rb"Tree=1\n", b"Tree=7\n", "begin where it should"),
        (rb"num_leaves=4", b"num_leaves=9", "what its leaves ask for"),
        (rb"num_leaves=4", b"num_leaves=-", "sound number of leaves"),
        (rb"num_cat=0", b"num_cat=5", "sound number of leaves"),
        (rb"left_child=\d", b"left_child=7", "do not form a tree"),
        (rb"split_feature=\d", b"split_feature=8", "does not exist"),
        (rb"leaf_value=-?\d", b"leaf_value=x", "what its leaves ask for"),
        (rb"end of trees", b"end of bytes", "does not end"),
        (rb"version", "versiön".encode(), "not ASCII"),
    ],
)
def test_what_is_out_of_place_is_named(ranker_text: bytes, old: bytes, new: bytes, reason: str) -> None:
    edited = re.sub(old, new, ranker_text, count=1)
    assert edited != ranker_text

    with pytest.raises(BundleError, match=reason):
        Ranker.from_text(edited)


@pytest.mark.parametrize("decision", [b"16", b"-1", b"9" * 30])
def test_a_decision_that_does_not_exist_is_refused(ranker_text: bytes, decision: bytes) -> None:
    other = re.sub(rb"decision_type=\d+", b"decision_type=" + decision, ranker_text, count=1)

    with pytest.raises(BundleError, match="decides in a way"):
        check_model_text(_with_sizes(other))


def test_a_circle_of_nodes_is_refused(ranker_text: bytes) -> None:
    """Each child occurs once, yet nodes 1 and 2 are each other's: LightGBM would walk for ever."""
    turned = re.sub(rb"left_child=.*", b"left_child=-1 2 1", ranker_text, count=1)
    turned = re.sub(rb"right_child=.*", b"right_child=-2 -3 -4", turned, count=1)

    with pytest.raises(BundleError, match="circle"):
        check_model_text(_with_sizes(turned))
