"""What the features of some lists are computed from; each intermediate is computed once, when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.features.attributes import Floats
from recsys.features.facts import CatalogFacts
from recsys.features.look import SMOOTHING, Seen
from recsys.features.tables import Ints
from recsys.lists import Lists

T = TypeVar("T")


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
    list_of_row: Ints
    versions: Mapping[str, int] = field(default_factory=dict)
    known_users: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    missing: bool = False
    known: dict[Callable[[Context], Any], Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        lists: Lists,
        seen: Seen,
        facts: CatalogFacts,
        versions: Mapping[str, int] | None = None,
        *,
        known_users: npt.NDArray[np.bool_] | None = None,
        missing: bool = False,
    ) -> Context:
        """Put together what was asked and what was seen."""
        return cls(
            lists=lists,
            seen=seen,
            facts=facts,
            list_of_row=lists.list_of_row,
            versions=versions or {},
            known_users=np.zeros(0, np.bool_) if known_users is None else known_users,
            missing=missing,
        )

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """Return the candidates' catalog rows; shape [R], -1 unknown."""
        return self.lists.item_rows

    def get(self, compute: Callable[[Context], T]) -> T:
        """Return ``compute(self)``, computed at most once."""
        if compute not in self.known:
            self.known[compute] = compute(self)
        found: T = self.known[compute]
        return found

    def per_row(self, per_list: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Repeat a figure of each list for each of its rows."""
        return per_list[self.list_of_row]

    def where_known(self, figures: npt.NDArray[Any]) -> Floats:
        """Blank the rows whose item the catalog does not know."""
        known = self.get(_known)
        return figures if known is None else np.where(known, figures, np.nan)

    def rate(self, counts: Floats) -> Floats:
        """Return clicks per view of rows [R, 2], drawn towards that of everything where views are few; shape [R]."""
        start = self.get(row_prior)
        return (counts[:, 1] + SMOOTHING * start) / (counts[:, 0] + SMOOTHING)


def row_prior(context: Context) -> Floats:
    """Return the click rate of everything, as each row's list may know it; shape [R]."""
    return context.per_row(context.seen.prior)


def _known(context: Context) -> npt.NDArray[np.bool_] | None:
    """Mark the rows of known items; None, which is the rule, where all are."""
    known = context.rows >= 0
    return None if known.all() else known
