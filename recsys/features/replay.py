"""The offline execution: a log streamed through the state in the order of time, lists asked as it goes by.

Memory holds the state and one slice of the log, however long the log is. A list is answered by what happened strictly
before its own moment, ties in time included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.dataset.columns import EVENTS, IMPRESSIONS, empty_frame
from recsys.features.context import Context
from recsys.features.histories import Histories, histories
from recsys.features.learn import Operations
from recsys.features.log_operations import operations, slices
from recsys.features.state import FeatureState
from recsys.features.tables import Ints
from recsys.lists import Lists

# Lists that are encoded at a time, and of these the ones that are learned and answered at a time: many enough to forget
# what a call costs, few enough for the processor's cache.
_ENCODED, SLICE = 8_192, 128
_END = 1 << 62
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Some of the lists, by their numbers in what was asked, and what the state knew at their moments."""

    numbers: Ints
    context: Context


def replay(
    state: FeatureState,
    impressions: pl.DataFrame | pl.LazyFrame,
    events: pl.DataFrame | None = None,
    lists: Lists | None = None,
    known_until: Ints | None = None,
) -> Iterator[Answered]:
    """Teach a state a whole log, answering lists on the way; every list is answered once.

    Args:
        state: what is known before the log begins; afterwards it knows all of it.
        impressions: lists shown, ascending by ``ts`` (see ``recsys.dataset``).
        events: other events, in any order.
        lists: what to ask, in any order; by default the impressions themselves.
        known_until: the moment, in UTC microseconds, up to which each of ``lists`` may know the log; its own ``ts`` by
            default. An earlier one shows what a state would say that has heard nothing since.
    """
    waiting = None if lists is None else _Waiting.of(lists, lists.ts if known_until is None else known_until)
    count = 0
    for shown, told in _one_ahead(_encoded(state, impressions, events)):
        if waiting is not None:
            yield from waiting.answer(state, told, int(shown.ts[-1]) if len(shown) else _END)
        else:
            numbers = np.arange(count, count + len(shown))
            yield from _answer(state, told, shown, numbers, np.searchsorted(told.ts, shown.ts))
        count += len(shown)


def _encoded(
    state: FeatureState, impressions: pl.DataFrame | pl.LazyFrame, events: pl.DataFrame | None
) -> Iterator[tuple[Lists, Operations]]:
    """Read a log slice by slice: the lists shown, and all that happened up to the last of them as operations."""
    catalog = state.catalog
    others = (empty_frame(EVENTS) if events is None else events).sort("ts", maintain_order=True)
    other_ts = others["ts"].dt.epoch("us").to_numpy()
    learned = 0
    for part in chain(slices(impressions, _ENCODED), [empty_frame(IMPRESSIONS)]):
        shown = Lists.from_impressions(part, catalog)
        newest = int(shown.ts[-1]) if len(shown) else _END
        stop = int(np.searchsorted(other_ts, newest, "right"))
        between = others[learned:stop]
        yield shown, operations(state, part, shown, between, catalog.rows(between["item_id"].to_list()))
        learned = stop


def _one_ahead(each: Iterator[T]) -> Iterator[T]:
    """Have a thread make the next one while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as beside:
        following = beside.submit(next, each, None)
        while (found := following.result()) is not None:
            following = beside.submit(next, each, None)
            yield found


def _answer(state: FeatureState, told: Operations, lists: Lists, numbers: Ints, before: Ints) -> Iterator[Answered]:
    """Learn a slice of the log whole, answering lists in the order of what they may know of it."""
    first = 0
    for begin in range(0, len(lists), SLICE):
        end = min(begin + SLICE, len(lists))
        last = int(before[end - 1])
        context = state.learn_and_look(told, lists.part(begin, end), before[begin:end], first, last)
        yield Answered(numbers=numbers[begin:end], context=context)
        first = last
    state.learn(told, first)


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """Lists in the order of the moments up to which they may know the log."""

    lists: Lists
    until: Ints
    order: Ints
    done: int = 0

    @classmethod
    def of(cls, lists: Lists, until: Ints) -> Self:
        return cls(lists=lists, until=until, order=np.argsort(until, kind="stable"))

    def answer(self, state: FeatureState, told: Operations, newest: int) -> Iterator[Answered]:
        """Learn a slice of the log, and answer the lists that may know no more than it tells."""
        end = int(np.searchsorted(self.until, newest, "right", sorter=self.order))
        numbers, self.done = self.order[self.done : end], end
        before = np.searchsorted(told.ts, self.until[numbers])
        return _answer(state, told, self.lists.take(numbers), numbers, before)


def feature_tables(
    state: FeatureState,
    impressions: pl.DataFrame | pl.LazyFrame,
    events: pl.DataFrame | None = None,
    lists: Lists | None = None,
    known_until: Ints | None = None,
) -> Iterator[tuple[Answered, npt.NDArray[np.float32]]]:
    """Replay a log, and compute the features [R, F] of each part of the lists while the next part is replayed.

    A table is there until the next one is asked for: then its memory is used again, because new memory costs as much as
    the features.
    """
    features = state.feature_set
    # One is used while the other is written.
    rooms = [np.empty((0, len(features.names)), np.float32)] * 2
    with ThreadPoolExecutor(1, thread_name_prefix="features") as beside:
        waiting: deque[tuple[Answered, Future[npt.NDArray[np.float32]]]] = deque()
        for number, answered in enumerate(replay(state, impressions, events, lists, known_until)):
            place, rows = number % len(rooms), answered.context.rows.size
            if len(rooms[place]) < rows:
                rooms[place] = np.empty((2 * rows, len(features.names)), np.float32)
            waiting.append((answered, beside.submit(features.table, answered.context, rooms[place])))
            if len(waiting) > 1:
                first, table = waiting.popleft()
                yield first, table.result()
        for first, table in waiting:
            yield first, table.result()


def features_and_histories(
    state: FeatureState,
    impressions: pl.DataFrame,
    events: pl.DataFrame | None,
    lists: Lists,
    length: int,
    *,
    skips: bool,
    known_until: Ints | None = None,
) -> tuple[npt.NDArray[np.float32], Histories]:
    """Replay a log and return the features [R, F] and histories [L, length] of lists; arguments as for ``replay``."""
    table = np.empty((lists.item_rows.size, len(state.feature_set.names)), np.float32)
    rows, actions = np.empty((len(lists), length), np.int32), np.empty((len(lists), length), np.int8)
    ages = np.empty((len(lists), length), np.float32)
    for answered, part in feature_tables(state, impressions, events, lists, known_until):
        table[lists.rows_of(answered.numbers)] = part
        found = histories(answered.context, length, skips=skips)
        rows[answered.numbers], actions[answered.numbers] = found.rows, found.actions
        ages[answered.numbers] = found.ages
    return table, Histories(rows=rows, actions=actions, ages=ages)
