"""What is answered: the order, its scores, and what they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from recsys.schema.columns import Columns
from recsys.schema.rungs import Rung, RungReason

# What the text model says of one candidate, in the order of the click head's output columns.
TEXT_OUTPUTS = ("text_logit", "item_logit", "match_logit", "max_similarity", "mean_similarity")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedItem:
    """One place of the answer; ``score`` orders within this list only, ``click_probability`` is calibrated.

    In a client's fallback the probability is NaN, because nobody computed one.
    """

    item_id: str
    score: float
    click_probability: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):  # our own bug, not the caller's
            raise ValueError(f"score of {self.item_id} is not finite")


class RankedItems(Columns[RankedItem]):
    """The places of an answer, best first, in columns.

    ``places`` [K] say which of the ``candidate_ids`` stand there; ``scores``, finite, and ``click_probabilities`` [K]
    are theirs.
    """

    __slots__ = ("_candidate_ids", "click_probabilities", "places", "scores")

    def __init__(
        self,
        candidate_ids: Sequence[str],
        places: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float64],
        click_probabilities: npt.NDArray[np.float64],
    ) -> None:
        self._candidate_ids = candidate_ids
        self.places = places
        self.scores = scores
        self.click_probabilities = click_probabilities

    @classmethod
    def of(cls, items: Iterable[RankedItem]) -> Self:
        """Put the places of an answer into columns, unless they are there already."""
        if isinstance(items, cls):
            return items
        given = tuple(items)
        return cls(
            [each.item_id for each in given],
            np.arange(len(given)),
            np.array([each.score for each in given], np.float64),
            np.array([each.click_probability for each in given], np.float64),
        )

    @property
    def item_ids(self) -> list[str]:
        """The ids, best first."""
        return [self._candidate_ids[place] for place in self.places.tolist()]

    def places_among(self, candidate_ids: Sequence[str]) -> list[int]:
        """Return where the items stand among ``candidate_ids``, best first."""
        places: list[int] = self.places.tolist()
        if self._candidate_ids is candidate_ids:
            return places
        place_of = {item_id: place for place, item_id in enumerate(candidate_ids)}
        return [place_of[item_id] for item_id in self.item_ids]

    def __len__(self) -> int:
        """Count the places."""
        return len(self.places)

    def member(self, place: int) -> RankedItem:
        """Make what stands at a place."""
        return RankedItem(
            item_id=self._candidate_ids[self.places[place]],
            score=float(self.scores[place]),
            click_probability=float(self.click_probabilities[place]),
        )


# What an answer may have to do without: the shared state, so that nothing of what people did is known.
NO_STATE = "no_state"
# The service itself: the client gave an order of its own. Never on the wire.
CLIENT_FALLBACK = "client_fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The answer: items best first, which bundle said so, what was missing, and where the time went (seconds).

    ``items_without_text`` are candidates of the catalog whose text was not read yet.
    ``degraded`` names what the answer had to do without (``NO_STATE``, ``CLIENT_FALLBACK``); ``state_versions`` says up
    to where it knows each event log, by the log's name. A client's fallback has an empty ``bundle_id``. ``variant`` is
    the group of users, or the pinned name, by which the bundle was chosen; empty where it simply serves.
    ``rung`` says how it was scored, and ``rung_reason`` why not on the first one; None on the first, and where a client
    is told a reason that it does not know.
    """

    request_id: str
    bundle_id: str
    items: Sequence[RankedItem]
    text_coverage: float
    unknown_items: tuple[str, ...] = ()
    items_without_text: tuple[str, ...] = ()
    unknown_user: bool = False
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    degraded: tuple[str, ...] = ()
    state_versions: Mapping[str, int] = field(default_factory=dict)
    variant: str = ""
    rung: Rung = Rung.FULL
    rung_reason: RungReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """How far one feature, or group of features, moved an item's score (``effect``, in score units)."""

    feature: str
    value: float
    effect: float
