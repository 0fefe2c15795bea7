"""What the text model says of lists: each candidate, against what its user did and asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import TextFault
from recsys.features import Context, Histories, histories
from recsys.live_items import LiveItems
from recsys.schema import TEXT_OUTPUTS, ItemText, RankRequest
from recsys.scored import Stopwatch
from recsys.text.model import TextModel

# The candidates, and the items of the history, whose texts are to be taken as not read yet.
Unread = tuple[Collection[str], Collection[str]]

Rows = npt.NDArray[np.int32]
Outputs = npt.NDArray[np.float32]


class ListText:
    """Reads lists with the text model of a bundle, whose ``items`` may change meanwhile.

    ``length`` entries of a history are attended to; with ``skips``, what was shown in vain stands among them.
    """

    def __init__(self, model: TextModel, items: LiveItems, *, length: int, skips: bool) -> None:
        self._model = model
        self._items = items
        self._length, self._skips = length, skips

    def of_requests(
        self,
        requests: Sequence[RankRequest],
        seen: Context,
        unread: Unread = ((), ()),
        *,
        reads: npt.NDArray[np.bool_] | None = None,
        sent: bool = True,
        watch: Stopwatch | None = None,
    ) -> tuple[Outputs, list[tuple[str, ...]]]:
        """Return the text outputs [R, 5], NaN without a text, and for each request what its history lacked.

        Args:
            requests: what is asked [L].
            seen: what the state says of them.
            unread: whose texts are to be taken as not read yet.
            reads: whose texts are used [R]; all by default.
            sent: use texts and queries that came with the requests.
            watch: is told how long reading those took, as the stage "reading".

        Raises:
            TextFault: the model says something that is no number.
        """
        lists, catalog = seen.lists, self._items.catalog
        history = self._histories(seen)
        known = catalog.current(history.rows)
        vectors = self._items.vectors
        rows = self._without(vectors.with_text(lists.item_rows), unread[0]).copy()
        attended = self._without(vectors.with_text(known), unread[1])
        lacking = (known >= 0) & (attended < 0)
        missing: list[tuple[str, ...]] = [()] * len(requests)
        for place in np.flatnonzero(lacking.any(axis=1)).tolist():
            missing[place] = tuple(catalog.ids[row] for row in known[place, lacking[place]].tolist())
        if reads is not None:
            rows[~reads] = -1
        came, queries = self._came(requests, seen, rows, reads, len(vectors)) if sent else ([], None)
        more = self._items.reader.encode(came) if came else None
        if watch is not None and came:
            watch.stop("reading")
        asked = None if reads is None else np.flatnonzero(rows >= 0)
        outputs = self._model.score(
            vectors,
            rows if asked is None else rows[asked],
            lists.offsets if asked is None else np.searchsorted(asked, lists.offsets),
            attended,
            history.actions,
            history.ages,
            queries=queries,
            more=more,
        )
        if asked is not None:
            scored, outputs = outputs, np.full((len(rows), len(TEXT_OUTPUTS)), np.nan, np.float32)
            outputs[asked] = scored
        if not (np.isfinite(outputs).all(axis=1) | (rows < 0)).all():
            raise TextFault("the text model says what is no number; look at the bundle's vectors, and roll back")
        return outputs, missing

    def _came(
        self,
        requests: Sequence[RankRequest],
        seen: Context,
        rows: Rows,
        reads: npt.NDArray[np.bool_] | None,
        known: int,
    ) -> tuple[list[ItemText], Rows | None]:
        """Gather the texts that came along, which get the rows from ``known`` on; and each list's query's row."""
        texts: list[ItemText] = []
        queries = np.full(len(requests), -1, np.int32)
        for number, request in enumerate(requests):
            first = seen.lists.offsets[number]
            for place, text in request.texts.items():
                if seen.lists.item_rows[first + place] < 0 and (reads is None or reads[first + place]):
                    rows[first + place] = known + len(texts)
                    texts.append(text)
            if request.query:
                queries[number] = known + len(texts)
                texts.append(ItemText(title=request.query))
        return texts, queries if (queries >= 0).any() else None

    def of_log(self, seen: Context, *, queries: bool = True) -> Outputs:
        """Return the text outputs of stored lists [R, 5], exactly as ``of_requests`` would give them.

        Without ``queries``, as if nobody had asked for anything.
        """
        lists, vectors = seen.lists, self._items.vectors
        history = self._histories(seen)
        asked = sorted({query for query in lists.queries if query}) if queries else []
        row_of = {query: len(vectors) + place for place, query in enumerate(asked)}
        return self._model.score(
            vectors,
            vectors.with_text(lists.item_rows),
            lists.offsets,
            vectors.with_text(self._items.catalog.current(history.rows)),
            history.actions,
            history.ages,
            queries=np.array([row_of.get(query, -1) for query in lists.queries]) if asked else None,
            more=self._model.encode([ItemText(title=query) for query in asked]) if asked else None,
        )

    def _histories(self, seen: Context) -> Histories:
        return histories(seen, self._length, skips=self._skips)

    def _without(self, rows: Rows, ids: Collection[str]) -> Rows:
        """Put -1 for the rows of some items."""
        return np.where(np.isin(rows, self._items.catalog.rows(ids)), np.int32(-1), rows) if ids else rows
