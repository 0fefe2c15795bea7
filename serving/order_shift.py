"""How far another bundle orders the same requests otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean

from recsys.agreement import kendall_tau, top_overlap
from recsys.gentle import rest
from recsys.schema import Ranking, RankRequest
from serving.model import Model

TOP = 10
# Beyond, Kendall's tau would hold up the rankings of others: its pairs are counted at once, and grow by the square.
_COMPARED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The share of the first ten items that two answers have in common, and Kendall's tau over the first hundred."""

    top_overlap: float
    kendall_tau: float


def shift_of(answered: Ranking, other: Ranking) -> Shift:
    """Compare an answer, which may be cut, with another one to the same request, which is whole."""
    ids = [item.item_id for item in answered.items]
    compared = ids[:_COMPARED]
    kept = set(compared)
    theirs = [item.item_id for item in other.items]
    return Shift(
        top_overlap=top_overlap(ids, theirs, TOP),
        kendall_tau=kendall_tau(compared, [item_id for item_id in theirs if item_id in kept]),
    )


def whole(request: RankRequest) -> RankRequest:
    """Return a request for all of its candidates."""
    return replace(request, top_k=0) if request.top_k else request


def mean_overlap(requests: Iterable[RankRequest], one: Model, other: Model) -> float:
    """Ask two models the same requests, and return how much of their first ten items is common; NaN without requests.

    Those of ten candidates or fewer are asked too, for the warmth of it, and say nothing.
    """
    overlaps = []
    for request in map(whole, requests):
        answer = one.rank(request)
        rest()
        shift = shift_of(answer, other.rank(request))
        rest()
        if len(request.candidates) > TOP:
            overlaps.append(shift.top_overlap)
    return fmean(overlaps) if overlaps else math.nan
