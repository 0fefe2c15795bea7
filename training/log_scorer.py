"""Scores the lists of a log by a bundle, as a server would have that heard the log up to some moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.dataset import Dataset
from recsys.features import Context, FeatureState, replay
from recsys.lists import Lists
from recsys.schema import Rung

Floats = npt.NDArray[np.float64]
Name = TypeVar("Name")


class ScoresLists(Protocol):
    """What is evaluated: ``recsys.pipeline.RankingPipeline``, or anything that scores lists like it."""

    @property
    def catalog(self) -> Catalog:
        """The items that the bundle knows."""

    @property
    def bundle_id(self) -> str:
        """The bundle's name."""

    def score_lists(self, seen: Context) -> Mapping[str, Floats]:
        """Score all items, each array of shape [R]: full, text_only, behaviour_only, and probability of a click."""

    def score_rungs(self, seen: Context) -> Mapping[Rung, Floats]:
        """Score all items on every rung of service, each array of shape [R]."""


class LogScorer:
    """Scores the same lists several times; tells (lists scored, lists to be scored) in all ``passes`` together."""

    def __init__(
        self,
        pipeline: ScoresLists,
        dataset: Dataset,
        lists: Lists,
        *,
        passes: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.lists = lists
        self._pipeline, self._dataset = pipeline, dataset
        self._progress = progress
        self._done, self._all = 0, passes * len(lists)

    def scores(self, known_until: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """Score each list by what happened before its ``known_until`` (UTC µs) [L]; by method, shape [R]."""
        return self._scored(known_until, self._pipeline.score_lists)

    def rungs(self, known_until: npt.NDArray[np.int64]) -> dict[Rung, Floats]:
        """As ``scores``, by rung of service."""
        return self._scored(known_until, self._pipeline.score_rungs)

    def _scored(
        self, known_until: npt.NDArray[np.int64], score: Callable[[Context], Mapping[Name, Floats]]
    ) -> dict[Name, Floats]:
        found: dict[Name, Floats] = {}
        end = self._done + len(self.lists)
        state = FeatureState(self._pipeline.catalog)
        for answered in replay(state, self._dataset.impressions, self._dataset.events, self.lists, known_until):
            if answered.numbers.size:
                rows = self.lists.rows_of(answered.numbers)
                for name, values in score(answered.context).items():
                    found.setdefault(name, np.empty(self.lists.item_rows.size))[rows] = values
                self._tell(answered.numbers.size)
            if self._done == end:  # what came later need not be learned
                break
        return found

    def _tell(self, lists: int) -> None:
        self._done += lists
        if self._progress is not None:
            self._progress(self._done, self._all)
