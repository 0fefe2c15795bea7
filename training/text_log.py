"""A dataset as the text models read it: all its lists in time, which are for training and which for the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.dataset import Dataset
from recsys.features import FeatureState, features_and_histories
from recsys.lists import Lists
from recsys.schema import ItemText
from training.split import test_lists
from training.text_lists import Rows, TextLists
from training.text_training import with_queries


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLog:
    """Texts (items, then queries), all lists, and the numbers of those for training and those for the test.

    ``users`` [L] tells users apart.
    """

    texts: list[ItemText]
    lists: TextLists
    training: Rows
    test: Rows
    users: npt.NDArray[np.int64]

    @classmethod
    def of(cls, dataset: Dataset, catalog: Catalog, *, history: int = 48, skips: bool = False) -> Self:
        """Read a dataset; a list sees what happened strictly before it."""
        impressions = dataset.impressions.with_row_index("number")
        training, test = (part["number"].to_numpy().astype(np.int64) for part in test_lists(impressions))
        lists = Lists.from_impressions(dataset.impressions, catalog)
        _, histories = features_and_histories(
            FeatureState(catalog), dataset.impressions, dataset.events, lists, history, skips=skips
        )
        texts, query_rows = with_queries(catalog, lists)
        clicked = dataset.impressions["clicked"].explode(empty_as_null=False).to_numpy().astype(np.bool_)
        return cls(
            texts=texts,
            lists=TextLists(
                lists,
                histories,
                clicked,
                pad=len(texts),
                query_rows=query_rows,
                weight=dataset.impressions["weight"].to_numpy().astype(np.float32),
            ),
            training=training,
            test=test,
            users=dataset.impressions["user_id"].rank("dense").to_numpy().astype(np.int64),
        )

    def with_both_classes(self, numbers: Rows) -> Rows:
        """Keep the lists that hold both a click and a non-click: those that can tell one order from another."""
        lists = self.lists.lists
        clicks = np.bincount(lists.list_of_row, weights=self.lists.clicked, minlength=len(lists))
        return numbers[((clicks > 0) & (clicks < lists.lengths))[numbers]]


def drawn(numbers: Rows, count: int, seed: int) -> Rows:
    """Draw up to ``count`` of the lists, in order of time."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(numbers, min(count, len(numbers)), replace=False))
