"""Changes of items are made one after the other, and no more of them wait than can be made soon."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from recsys.errors import NotReady, Overloaded
from serving.item_changes import ItemChanges


@pytest.fixture
def changes() -> Iterator[ItemChanges]:
    changes = ItemChanges()
    yield changes
    changes.close()


def test_changes_are_made_one_after_the_other(changes: ItemChanges, eventually: Any) -> None:
    made: list[int] = []

    async def ask() -> list[None]:
        return await asyncio.gather(
            *(changes.submit(lambda number=number: made.append(number)) for number in range(50))
        )

    asyncio.run(ask())

    assert made == list(range(50))
    eventually(lambda: not changes.busy)


def test_one_too_many_is_told_when_to_come_back_and_the_others_are_made(changes: ItemChanges) -> None:
    release = threading.Event()

    async def ask() -> int:
        answers = [changes.submit(lambda: release.wait(10)) for _ in range(64)]
        with pytest.raises(Overloaded, match="64 changes of items wait; send more items in a call") as refused:
            changes.submit(lambda: None)
        assert refused.value.after_s == 1.0
        assert changes.waiting == 63
        release.set()
        return sum(await asyncio.gather(*answers))

    assert asyncio.run(ask()) == 64


def test_one_whose_caller_has_gone_is_not_begun(changes: ItemChanges) -> None:
    release, begun = threading.Event(), threading.Event()

    async def ask() -> None:
        first, second = changes.submit(lambda: release.wait(10)), changes.submit(begun.set)
        second.cancel()
        await asyncio.sleep(0.05)
        release.set()
        await first

    asyncio.run(ask())

    assert not begun.is_set()


def test_after_the_end_nothing_is_taken(changes: ItemChanges) -> None:
    changes.close()

    async def ask() -> None:
        with pytest.raises(NotReady, match="shutting down"):
            changes.submit(lambda: None)

    asyncio.run(ask())
