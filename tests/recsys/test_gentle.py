"""A gentle thread rests after each stretch of work, and only that thread does."""

from __future__ import annotations

import threading
import time

import pytest

from recsys.gentle import gentle, rest, resting


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note each rest instead of taking it; every stretch is over at once."""
    taken: list[float] = []
    monkeypatch.setattr("recsys.gentle._STRETCH_S", 0.0)
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


def test_a_gentle_thread_rests_and_ends_as_it_was(rests: list[float]) -> None:
    rest()
    with gentle():
        rest()
        rest()
    rest()

    assert rests == [0.003, 0.003]


def test_gentleness_within_gentleness_does_not_end_it(rests: list[float]) -> None:
    with gentle():
        with gentle():
            rest()
        rest()
    rest()

    assert len(rests) == 2


def test_other_threads_do_not_rest(rests: list[float]) -> None:
    with gentle():
        other = threading.Thread(target=rest)
        other.start()
        other.join()

    assert rests == []


def test_nobody_rests_before_a_stretch_is_over(monkeypatch: pytest.MonkeyPatch, rests: list[float]) -> None:
    monkeypatch.setattr("recsys.gentle._STRETCH_S", 60.0)
    with gentle():
        rest()

    assert rests == []


def test_a_loop_rests_every_so_often_and_yields_all(rests: list[float]) -> None:
    with gentle():
        assert list(resting(range(10), every=4)) == list(range(10))

    assert len(rests) == 3


def test_gentleness_ends_with_an_error(rests: list[float]) -> None:
    with pytest.raises(ValueError, match="x"), gentle():
        raise ValueError("x")
    rest()

    assert rests == []
