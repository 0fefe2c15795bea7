"""The index leads from ids to rows as a dictionary would, whatever is put in and taken out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import id_index
from recsys.id_index import IdIndex

IDS = st.text(max_size=6) | st.sampled_from(["a", "b", "ä", "\0", "\0\0", "ab", "ba", "\ud800"])


def rows(*numbers: int) -> Any:
    return np.array(numbers, np.int32)


def test_ids_lead_to_their_rows_and_others_to_none() -> None:
    index = IdIndex(["a", "bb", ""])

    assert index.rows(["bb", "b", "", "a", "bbb"]).tolist() == [1, -1, 2, 0, -1]
    assert index.rows([]).tolist() == []
    assert IdIndex([]).rows(["a"]).tolist() == [-1]


@settings(max_examples=200, deadline=None)
@given(
    first=st.lists(IDS, unique=True, max_size=30),
    steps=st.lists(st.tuples(st.booleans(), st.lists(IDS, unique=True, max_size=8)), max_size=12),
    asked=st.lists(IDS, max_size=30),
)
def test_it_answers_as_a_dictionary(first: list[str], steps: list[tuple[bool, list[str]]], asked: list[str]) -> None:
    ids = list(first)
    index, known = IdIndex(ids), {item_id: row for row, item_id in enumerate(ids)}
    for removed, named in steps:
        if removed:
            index.remove([item_id for item_id in named if known.pop(item_id, None) is not None])
        else:
            new = rows(*range(len(ids), len(ids) + len(named)))
            ids += named
            known |= dict(zip(named, new.tolist(), strict=True))
            index.put(new)
        everything = [*asked, *ids]
        assert index.rows(everything).tolist() == [known.get(item_id, -1) for item_id in everything]


def test_a_hundred_thousand_ids_are_found() -> None:
    ids = [f"item-{number}" for number in range(100_001)]
    index = IdIndex(ids)
    index.remove(ids[::2])

    assert index.rows(ids)[1::2].tolist() == list(range(1, 100_001, 2))
    assert set(index.rows(ids)[::2].tolist()) == {-1}


def test_two_ids_with_one_hash_are_told_apart_by_another_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a secret of 0, letters of code 0 leave it as it is: all ids of such letters have one hash.
    secret = iter([0, 12_345, 0, 54_321])
    monkeypatch.setattr(id_index.secrets, "randbits", lambda _: next(secret))

    together = IdIndex(["", "\0", "\0\0"])
    assert together.rows(["", "\0", "\0\0", "\0\0\0"]).tolist() == [0, 1, 2, -1]

    ids = ["", "a"]
    one_after_the_other = IdIndex(ids)
    ids.append("\0\0\0")
    one_after_the_other.put(rows(2))
    assert one_after_the_other.rows(["", "a", "\0\0\0"]).tolist() == [0, 1, 2]
    assert next(secret, None) is None
