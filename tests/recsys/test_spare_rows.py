"""A row is given to what its item is next, and never while somebody may read what the item was."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Barrier, Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.spare_rows import SpareRows


def left(*rows: int, ids: str = "abc") -> SpareRows:
    spare = SpareRows()
    spare.leave(list(ids[: len(rows)]), np.array(rows, np.int32))
    return spare


def test_a_row_is_given_to_its_own_item_and_once() -> None:
    spare = left(4, 7)

    assert spare.take(["b", "c", "a", "b"], tuple).tolist() == [7, -1, 4, -1]
    assert spare.take(["a", "b"], tuple).tolist() == [-1, -1]


def test_an_item_that_was_unknown_has_left_no_row() -> None:
    assert left(-1, 3).take(["a", "b"], tuple).tolist() == [-1, 3]


def test_a_row_is_not_given_while_somebody_reads_who_began_before_it_was_left() -> None:
    spare = SpareRows()
    with spare.reading():
        spare.leave(["a"], np.array([4], np.int32))
        assert spare.take(["a"], tuple).tolist() == [-1]

    assert spare.take(["a"], tuple).tolist() == [4]


def test_who_begins_later_does_not_keep_it() -> None:
    spare = left(4)
    with spare.reading():
        assert spare.take(["a"], tuple).tolist() == [4]


def test_a_row_in_other_use_is_not_given() -> None:
    spare = left(4)

    assert spare.take(["a"], lambda: {4}).tolist() == [-1]
    assert spare.take(["a"], lambda: {5}).tolist() == [4]


def test_an_item_that_changes_while_it_is_read_has_several_rows_later() -> None:
    spare = SpareRows()
    with spare.reading():
        spare.leave(["a"], np.array([4], np.int32))
        spare.leave(["a"], np.array([5], np.int32))

    assert [int(spare.take(["a"], tuple)[0]) for _ in range(3)] == [4, 5, -1]


def test_a_reader_that_fails_reads_no_more() -> None:
    spare = SpareRows()

    def fail() -> None:
        with spare.reading():
            spare.leave(["a"], np.array([4], np.int32))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert spare.take(["a"], tuple).tolist() == [4]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["begin", "end first", "end last", "change", "change"]), max_size=60))
def test_no_reader_ever_finds_what_it_has_looked_up_overwritten(steps: list[str]) -> None:
    spare, version, current = SpareRows(), 0, 0
    says = [0]  # by row, the version that it holds
    readers: list[tuple[AbstractContextManager[None], int, int]] = []
    for step in steps:
        if step == "begin":
            reader = spare.reading()
            reader.__enter__()
            readers.append((reader, current, says[current]))
        elif step != "change":
            if readers:
                reader, _, _ = readers.pop(0 if step == "end first" else -1)
                reader.__exit__(None, None, None)
        else:
            version += 1
            (row,) = spare.take(["a"], tuple).tolist()
            if row < 0:
                row = len(says)
                says.append(-1)
            says[row] = version
            spare.leave(["a"], np.array([current], np.int32))
            current = row
        assert all(says[row] == seen for _, row, seen in readers)
    for reader, _, _ in readers:
        reader.__exit__(None, None, None)
    assert sorted([current, *(int(spare.take(["a"], tuple)[0]) for _ in says[1:])]) == list(range(len(says)))
    assert steps.count("begin") or len(says) <= 2


def test_readers_come_and_go_from_many_threads_while_rows_are_taken() -> None:
    spare, begin, says = SpareRows(), Barrier(5), [0] * 4_000
    current, torn, done = [0], [], []

    def read() -> None:
        begin.wait()
        while not done:
            with spare.reading():
                row = current[0]
                first = says[row]
                if any(says[row] != first for _ in range(20)):
                    torn.append(row)

    threads = [Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin.wait()
    used = 1
    for version in range(1, 3_000):
        (row,) = spare.take(["a"], tuple).tolist()
        if row < 0:
            row, used = used, used + 1
        says[row] = version
        before, current[0] = current[0], row
        spare.leave(["a"], np.array([before], np.int32))
    done.append(True)
    for thread in threads:
        thread.join(30)

    assert torn == []
    assert used < 3_000
