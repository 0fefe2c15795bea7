"""What gRPC drops unread is found out from how many calls came and how many were seen."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from serving.unread import Unread


class Watched:
    """Looks twenty times a second at a server that takes what it is told to take."""

    def __init__(self) -> None:
        self.came = self.taken = 0
        self.lost: list[int] = []
        self.dropping: list[int] = []
        self.unread = Unread(lambda: self.taken, self.lost.append, self.dropping.append)

    def look(self, *, came: int = 0, taken: int = 0) -> None:
        self.came, self.taken = self.came + came, self.taken + taken
        self.unread.compare(self.came)


def test_what_waits_is_not_dropped() -> None:
    watched = Watched()
    for _ in range(100):
        watched.look(came=40)
        watched.look(taken=40)

    assert (watched.lost, watched.dropping) == ([], [])


def test_more_than_can_wait_are_dropped_and_the_last_of_them_are_counted_when_it_is_over() -> None:
    watched = Watched()
    watched.look(came=1_000, taken=100)
    assert watched.dropping == [900 - 40]
    watched.look(taken=25)
    for _ in range(20):
        watched.look()

    assert watched.dropping == [900 - 40]
    assert sum(watched.lost) == 875


def test_those_that_leave_now_and_then_before_they_are_seen_are_counted_and_are_no_alarm() -> None:
    watched = Watched()
    for _ in range(200):
        watched.look(came=2, taken=1)
        for _ in range(20):
            watched.look()
    watched.look(came=40)  # a page
    watched.look(taken=40)

    assert watched.dropping == []
    assert sum(watched.lost) == 200


def test_where_the_statistics_are_in_another_form_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr("serving.unread._EVERY_S", 0.001)
    monkeypatch.setattr(watched.unread, "look", lambda: {}["server"])

    async def follow() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watched.unread.follow(), 0.1)

    with capture_logs() as lines:
        asyncio.run(follow())
    assert [line["event"] for line in lines] == ["unread calls not counted"]
