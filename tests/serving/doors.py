"""Doors of servers, their clocks, and ways to fill them, for tests of who is let in."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from recsys.errors import Overloaded
from serving.admission import Admission, Place


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def door(clock: Clock | None = None, *, threads: int = 1, most_waiting: int = 4, **more: Any) -> Admission:
    return Admission(
        threads=threads, most_waiting=most_waiting, default_s=2.0, most_s=10.0, now=clock or Clock(), **more
    )


def learned(admission: Admission, seconds: float, candidates: int = 50) -> None:
    """Let a ranking of so many candidates have taken so many seconds."""
    with admission.admitted(candidates, 9.0, "interactive") as place:
        place.begin()
        admission.took(place, seconds)


def enter(stack: ExitStack, admission: Admission, left_s: float = 2.0, priority: str = "interactive") -> Place:
    return stack.enter_context(admission.admitted(50, left_s, priority))


def filled(admission: Admission, stack: ExitStack, priority: str = "interactive") -> int:
    """Let in as many as get in, the first of them computed; returns how many wait."""
    enter(stack, admission).begin()
    try:
        while True:
            enter(stack, admission, 9.0, priority)
    except Overloaded:
        return admission.waiting


def rushed(admission: Admission, stack: ExitStack, priority: str = "interactive") -> int:
    """Fill the queue, and have as many refused as let the queue stand for this priority; returns how many wait."""
    waiting = filled(admission, stack, priority)
    for _ in range(20):
        with pytest.raises(Overloaded):
            enter(stack, admission, 9.0, priority)
    return waiting


def refuse_one(admission: Admission) -> None:
    with ExitStack() as stack, pytest.raises(Overloaded):
        enter(stack, admission, 9.0)
