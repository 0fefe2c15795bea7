"""What the features of some lists are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from recsys.features.facts import CatalogFacts
from recsys.features.feature import Question, Sayings
from recsys.features.seen import Seen
from recsys.lists import Lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """L lists of R rows, what the catalog says of their items, and the past as the state knows it at their moment.

    ``versions`` says up to where the state knows each event log; ``missing`` that it did not answer, so that everything
    about the past is as if nothing had ever happened, and every counter NaN. ``known_users`` [L] tells of whom
    anything was ever learned; empty where nobody asked.
    """

    lists: Lists
    seen: Seen
    facts: CatalogFacts
    versions: Mapping[str, int] = field(default_factory=dict)
    known_users: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    missing: bool = False

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """Return the candidates' catalog rows; shape [R], -1 unknown."""
        return self.lists.item_rows

    @property
    def question(self) -> Question:
        """What was asked, for the loops that compute features."""
        lists = self.lists
        given = np.array([history is not None for history in lists.histories], np.bool_)
        return Question(lists.ts, lists.offsets, lists.item_rows, given)

    @property
    def says(self) -> Sayings:
        """What the catalog says, for the same loops."""
        facts, values = self.facts, self.facts.values
        return Sayings(facts.codes, values.blocks, values.rarity, facts.categories, facts.raw, facts.share)
