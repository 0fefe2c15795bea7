"""What the text model says of lists: each candidate, against what its user did and asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from recsys.features import Context, Histories, histories
from recsys.live_items import LiveItems
from recsys.schema import ItemText, RankRequest
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
        self, requests: Sequence[RankRequest], seen: Context, unread: Unread = ((), ())
    ) -> tuple[Outputs, list[tuple[str, ...]]]:
        """Return the text outputs [R, 5], NaN without a text, and for each request what its history lacked."""
        lists, catalog = seen.lists, self._items.catalog
        history = self._histories(seen)
        known = catalog.current(history.rows)
        vectors = self._items.vectors
        rows = self._without(vectors.with_text(lists.item_rows), unread[0]).copy()
        attended = self._without(vectors.with_text(known), unread[1])
        missing = [
            tuple(catalog.ids[row] for row in known[place, lacking].tolist())
            for place, lacking in enumerate((known >= 0) & (attended < 0))
        ]
        sent: list[ItemText] = []
        queries = np.full(len(requests), -1)
        for number, request in enumerate(requests):
            first = lists.offsets[number]
            for place, text in request.texts.items():
                if lists.item_rows[first + place] < 0:
                    rows[first + place] = len(vectors) + len(sent)
                    sent.append(text)
            if request.query:
                queries[number] = len(vectors) + len(sent)
                sent.append(ItemText(title=request.query))
        outputs = self._model.score(
            vectors,
            rows,
            lists.offsets,
            attended,
            history.actions,
            history.ages,
            queries=queries if (queries >= 0).any() else None,
            more=self._items.reader.encode(sent) if sent else None,
        )
        return outputs, missing

    def of_log(self, seen: Context) -> Outputs:
        """Return the text outputs of stored lists [R, 5], exactly as ``of_requests`` would give them."""
        lists, vectors = seen.lists, self._items.vectors
        history = self._histories(seen)
        asked = sorted({query for query in lists.queries if query})
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
