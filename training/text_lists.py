"""The lists that the text model learns from, as padded batches of catalog rows; and which lists touch an item.

Row ``pad`` (one past the last text) stands for padding and for items without a text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features import Histories
from recsys.lists import Lists
from recsys.text.query import prepend_query

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBatch:
    """B lists as rectangles: rows [B, N], clicked [B, N], history rows, actions and ages [B, H], weight [B]."""

    candidates: Rows
    clicked: npt.NDArray[np.float32]
    history: Rows
    actions: Rows
    ages: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]


class TextLists:
    """Lists with clicks and histories, from which batches are cut."""

    def __init__(
        self,
        lists: Lists,
        histories: Histories,
        clicked: npt.NDArray[np.bool_],
        *,
        pad: int,
        query_rows: npt.NDArray[np.int32],
        weight: npt.NDArray[np.float32],
    ) -> None:
        self.lists = lists
        self.clicked = clicked
        self.weight = weight
        self.pad = pad
        self.items = np.where(lists.item_rows < 0, pad, lists.item_rows).astype(np.int64)
        # A query is a text of its own, after the catalog's rows.
        history, actions, ages = prepend_query(histories.rows, histories.actions, histories.ages, query_rows)
        self.actions = np.where(history < 0, 0, actions).astype(np.int64)
        self.history = np.where(history < 0, pad, history).astype(np.int64)
        self.ages = ages

    def __len__(self) -> int:
        """Count the lists."""
        return len(self.lists)

    def rows(self, chosen: Rows) -> Rows:
        """Return where the items of some lists stand, one list after the other; shape [their items]."""
        start, length = self.lists.offsets[chosen], self.lists.lengths[chosen]
        before = np.cumsum(length) - length
        places: Rows = np.arange(int(length.sum())) + np.repeat(start - before, length)
        return places

    def batch(self, chosen: Rows, *, shown: int = 0, rng: np.random.Generator | None = None) -> ListBatch:
        """Cut some lists into rectangles.

        Args:
            chosen: which lists.
            shown: at most so many items of a list, the clicked ones first, the others drawn by ``rng``; 0 takes all.
            rng: the source of the draw; needed with ``shown``.
        """
        start, length = self.lists.offsets[chosen], self.lists.lengths[chosen]
        width = int(length.max(initial=1))
        inside = np.arange(width) < length[:, None]
        source = np.where(inside, start[:, None] + np.arange(width), 0)
        items = np.where(inside, self.items[source], self.pad)
        clicked = inside & self.clicked[source]
        if 0 < shown < width:
            if rng is None:
                raise ValueError("a draw of shown items needs a generator")
            order = np.argsort(np.where(clicked, -1.0, np.where(inside, rng.random(inside.shape), 2.0)), axis=1)
            items, clicked = (np.take_along_axis(part, order[:, :shown], axis=1) for part in (items, clicked))
        return ListBatch(
            candidates=items,
            clicked=clicked.astype(np.float32),
            history=self.history[chosen],
            actions=self.actions[chosen],
            ages=self.ages[chosen],
            weight=self.weight[chosen],
        )


class ItemIndex:
    """For each item, the lists that clicked it, and those that showed it otherwise or have it in their history."""

    def __init__(self, lists: TextLists, chosen: Rows) -> None:
        shown = lists.rows(chosen)
        items, clicked = lists.items[shown], lists.clicked[shown]
        owners = np.repeat(chosen, lists.lists.lengths[chosen])
        history = lists.history[chosen]
        known = history < lists.pad
        earlier = np.repeat(chosen, known.sum(axis=1))
        self._clicked = _Postings(items[clicked], owners[clicked], lists.pad)
        self._others = _Postings(
            np.concatenate([items[~clicked], history[known]]), np.concatenate([owners[~clicked], earlier]), lists.pad
        )

    def touching(self, items: Rows, limit: int, rng: np.random.Generator, *, clicked_share: float) -> Rows:
        """Draw up to ``limit`` lists that teach something about the items, ascending.

        Args:
            items: rows of the items.
            limit: lists drawn, at most.
            rng: the source of the draw.
            clicked_share: share of the drawn lists that clicked one of the items, as far as there are so many. They
                teach the order most, and drawn alike they are few. They also teach that whatever was just encoded is
                clicked: the head has to be trained again, on every item alike (``training.text_training``).
        """
        clicked = self._clicked.of(items)
        others = np.setdiff1d(self._others.of(items), clicked, assume_unique=True)
        if len(clicked) + len(others) <= limit:
            return np.union1d(clicked, others)
        count = min(len(clicked), max(round(clicked_share * limit), limit - len(others)))
        drawn = [rng.choice(clicked, count, replace=False), rng.choice(others, limit - count, replace=False)]
        return np.sort(np.concatenate(drawn))


class _Postings:
    """Items and the lists that belong to each."""

    def __init__(self, items: Rows, owners: Rows, count: int) -> None:
        order = np.argsort(items, kind="stable")
        self._starts = np.searchsorted(items[order], np.arange(count + 1))
        self._owners = owners[order]

    def of(self, items: Rows) -> Rows:
        """Return the lists of some items, each once, ascending."""
        parts = [self._owners[self._starts[item] : self._starts[item + 1]] for item in items]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)
