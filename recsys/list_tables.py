"""The tables that lists are scored by: behaviour and text side by side, as much of both as a rung of service has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.errors import RecsysError, TextFault
from recsys.features import Context, FeatureSet, assemble
from recsys.list_text import ListText, Unread
from recsys.rungs import RungScorer, best_of
from recsys.schema import TEXT_OUTPUTS, RankRequest, Rung
from recsys.scored import Stopwatch

Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_WITHOUT_TEXT = (Rung.BEHAVIOUR, Rung.POPULARITY)


class Made(NamedTuple):
    """A table [R, C], and what came of it on the way.

    ``reads`` [R] tells whose texts it asked for, all if None; ``attended_without_text`` [L] are items of each history
    whose text was not read yet; ``alone`` [R] are the scores by behaviour, where they were needed.
    """

    table: Table
    reads: Bools | None
    attended_without_text: Sequence[tuple[str, ...]]
    alone: Floats | None = None


class ListTables:
    """Makes tables for ``scorer``, with texts as ``list_text`` has them."""

    def __init__(self, list_text: ListText, scorer: RungScorer) -> None:
        self._list_text, self._scorer = list_text, scorer

    def of_requests(
        self,
        requests: Sequence[RankRequest],
        seen: Context,
        features: FeatureSet,
        rung: Rung,
        *,
        unread: Unread = ((), ()),
        watch: Stopwatch | None = None,
    ) -> Made:
        """Make the table of requests on a rung.

        Args:
            requests: what is asked.
            seen: what the state says of them.
            features: the features that are computed of that.
            rung: what the table has.
            unread: whose texts are to be taken as not read yet.
            watch: is told how long the stages took.

        Raises:
            TextFault: the text model failed.
        """
        watch, offsets = watch or Stopwatch(), seen.lists.offsets
        reads = np.zeros(len(seen.rows), np.bool_) if rung in _WITHOUT_TEXT else None
        missing: Sequence[tuple[str, ...]] = [()] * len(requests)
        if rung is Rung.POPULARITY:
            made = Made(self._scorer.rates_only(seen), reads, missing)
            watch.stop("features")
            return made
        behaviour, alone = features.table(seen), None
        watch.stop("features")
        text = np.full((len(behaviour), len(TEXT_OUTPUTS)), np.nan, np.float32)
        if rung is Rung.BEST_TEXT:
            alone = self._scorer.alone(behaviour)
            reads = best_of(alone, [request.item_ids for request in requests], offsets)
            watch.stop("behaviour")
        if rung is not Rung.BEHAVIOUR:
            try:
                text, missing = self._list_text.of_requests(
                    requests, seen, unread, reads=reads, sent=rung is not Rung.CACHED_TEXT, watch=watch
                )
            except RecsysError:
                raise
            except Exception as error:
                # Not what it says: that may quote a text.
                raise TextFault(
                    f"the text model failed with {type(error).__name__}; roll back if it goes on"
                ) from error
            watch.stop("text")
        return Made(assemble(text, behaviour, offsets, features.names), reads, missing, alone)

    def score_log(self, seen: Context, features: FeatureSet, item_ids: Sequence[str]) -> dict[Rung, Floats]:
        """Score stored lists on every rung, as ``of_requests`` would have them; ``item_ids`` are the catalog's."""
        offsets, rows = seen.lists.offsets, seen.rows.tolist()
        text, behaviour = self._list_text.of_log(seen), features.table(seen)
        alone = self._scorer.alone(behaviour)
        # What the catalog does not know has lost its id here, and keeps its place.
        names = [item_ids[row] if row >= 0 else f"\0{place}" for place, row in enumerate(rows)]
        ids = [names[begin:end] for begin, end in pairwise(offsets.tolist())]
        best = np.where(best_of(alone, ids, offsets)[:, None], text, np.float32(np.nan))
        cached = self._list_text.of_log(seen, queries=False) if any(seen.lists.queries) else text
        tables = {
            rung: assemble(outputs, behaviour, offsets, features.names)
            for rung, outputs in ((Rung.FULL, text), (Rung.BEST_TEXT, best), (Rung.CACHED_TEXT, cached))
        }
        tables |= {Rung.BEHAVIOUR: tables[Rung.FULL], Rung.POPULARITY: self._scorer.rates_only(seen)}
        return {rung: self._scorer.score(rung, tables[rung], ids, offsets, alone)[0] for rung in Rung}
