"""The order that a caller gets when the service gives none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from recsys.errors import NotReady, RecsysError
from recsys.schema import CLIENT_FALLBACK, RankedItem, Ranking, RankRequest
from serving.client.ended import ServiceError

# What gives the candidates' ids best first, or a number for each item, such as its clicks of last week, highest first.
Fallback = Callable[[RankRequest], Sequence[str]] | Mapping[str, float]

# What says that the caller is not let in, or calls something else: a list would hide for ever that it has to be mended.
_TOLD = ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")


def _as_sent(request: RankRequest) -> Sequence[str]:
    return [candidate.item_id for candidate in request.candidates]


SHOWN_ORDER: Fallback = _as_sent


def instead(error: RecsysError, request: RankRequest, fallback: Fallback | None) -> Ranking:
    """Rank without the service, or raise ``error`` where there is no fallback, or where it is the caller's fault.

    Raises:
        RecsysError: ``error``.
        ValueError: the fallback gave other items than the candidates, or an item twice.
    """
    hidden = isinstance(error, NotReady) or (isinstance(error, ServiceError) and error.code not in _TOLD)
    if fallback is None or not hidden:
        raise error
    ids = _by_number(request, fallback) if isinstance(fallback, Mapping) else list(fallback(request))
    if sorted(ids) != sorted(_as_sent(request)):
        raise ValueError("the fallback did not give each candidate once; give their ids in another order, no others")
    ids = ids[: request.top_k or None]
    return Ranking(
        request_id=request.request_id,
        bundle_id="",
        items=tuple(
            RankedItem(item_id=item_id, score=float(len(ids) - place), click_probability=math.nan)
            for place, item_id in enumerate(ids)
        ),
        text_coverage=0.0,
        degraded=(CLIENT_FALLBACK,),
    )


def _by_number(request: RankRequest, numbers: Mapping[str, float]) -> list[str]:
    """Highest first; equal ones, and last those without a number, as they were sent."""
    return sorted(_as_sent(request), key=lambda item_id: numbers.get(item_id, -math.inf), reverse=True)
