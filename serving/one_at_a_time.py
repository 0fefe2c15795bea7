"""Tells when the event loop may rank a request itself: while callers come one at a time, so that nobody waits for it.

Handing a request to a thread and its answer back wakes two threads, which is a tenth of what a ranking of a hundred
candidates takes. As soon as two callers are seen to meet, threads rank, so that the loop reads while they do. While the
loop ranks it sees nobody come, and two callers could take turns for ever; so now and then a thread ranks all the same.
"""

from __future__ import annotations

from collections.abc import Callable

from recsys.schema import RankRequest
from serving.model import Model

# After so many rankings in a row that met no other, the next ones are taken to meet none either; one in so many is left
# to a thread, to see.
_IN_A_ROW = 16
# The loop is to be free again within a millisecond or two.
_MOST_CANDIDATES = 200


class OneAtATime:
    """Sees every request of one event loop; ``in_flight`` counts those that have come and are not answered."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self._in_a_row = 0

    def suits(self, model: Model, request: RankRequest) -> bool:
        """Tell whether a request that finds all threads idle is to be ranked at once, by who asks."""
        self._in_a_row = self._in_a_row + 1 if self._in_flight() <= 1 else 0
        certain = self._in_a_row > _IN_A_ROW and self._in_a_row % _IN_A_ROW > 0
        return certain and len(request.candidates) <= _MOST_CANDIDATES and model.is_brief(request)
