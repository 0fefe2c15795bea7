"""Lists made from given histories: one earlier choice as the click, against items drawn by how often they were chosen.

A history that came with a list tells of choices that the log itself never showed, and there are more of them than of
lists. Which items stood beside the chosen one is unknown, so only the match with the history is taught, not how
popular an item is (sequence augmentation: Tan et al., DLRS 2016; popularity draws: word2vec).
"""

from __future__ import annotations

import numpy as np

from recsys.schema import ACTION_CODE
from training.text_lists import ListBatch, Rows, TextLists


class HistoryLists:
    """Draws such lists for those of a log that brought a history of at least two known items."""

    def __init__(self, lists: TextLists, training: Rows, *, negatives: int) -> None:
        self._lists, self._negatives = lists, negatives
        # A query stands first, and is nothing that was ever chosen or could be drawn.
        query = lists.actions == ACTION_CODE["query"]
        self._first = query[:, 0].astype(np.int64)
        self._entries = ((lists.history < lists.pad) & ~query).sum(axis=1)
        given = np.array([history is not None for history in lists.lists.histories], np.bool_)
        self._usable = given & (self._entries >= 2)
        known = training[self._usable[training]]
        history = np.where(query[known], lists.pad, lists.history[known])
        chosen = np.bincount(history[history < lists.pad], minlength=lists.pad).astype(np.float64)
        self._chance = np.cumsum(chosen / max(chosen.sum(), 1.0))

    def beside(self, numbers: Rows, rng: np.random.Generator) -> ListBatch | None:
        """Make one list of each usable one among ``numbers``; None where there is none."""
        usable = numbers[self._usable[numbers]] if self._negatives else numbers[:0]
        if not len(usable):
            return None
        lists = self._lists
        # Newest first: the entries after the cut are those that the chosen one came after.
        cut = self._first[usable] + (rng.random(len(usable)) * (self._entries[usable] - 1)).astype(np.int64)
        chosen = np.take_along_axis(lists.history[usable], cut[:, None], axis=1)
        drawn = np.searchsorted(self._chance, rng.random((len(usable), self._negatives)), side="right")
        drawn = np.where(drawn == chosen, lists.pad, np.minimum(drawn, lists.pad - 1))
        source = cut[:, None] + 1 + np.arange(lists.history.shape[1])
        inside = source < lists.history.shape[1]
        source = np.where(inside, source, 0)
        earlier, actions, ages = (
            np.take_along_axis(part[usable], source, axis=1) for part in (lists.history, lists.actions, lists.ages)
        )
        clicked = np.zeros((len(usable), 1 + self._negatives), np.float32)
        clicked[:, 0] = 1.0
        return ListBatch(
            candidates=np.concatenate([chosen, drawn], axis=1),
            clicked=clicked,
            history=np.where(inside, earlier, lists.pad),
            actions=np.where(inside, actions, 0),
            ages=np.where(inside, ages, -1.0).astype(np.float32),
            weight=lists.weight[usable],
        )
