"""A user's history and a candidate as one text, for the model that reads both together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from recsys.schema import ACTION_CODE, ItemText
from recsys.text.tokens import ItemTokenizer, TextSettings, Tokens
from training.text_lists import Rows, TextLists

_NOT_READ = tuple(ACTION_CODE[name] for name in ("pad", "skip", "hide"))


class PairTokens:
    """Makes ``[CLS] history [SEP] candidate [SEP]`` of a catalog's texts.

    The history is the query, if there is one, then the titles of what the user chose, newest first, as far as the
    budget goes. The candidate is its title, description and category. Each part ends with [SEP].
    """

    def __init__(
        self,
        texts: Sequence[ItemText],
        tokenizer: Tokenizer,
        *,
        settings: TextSettings,
        title_tokens: int,
        history_tokens: int,
    ) -> None:
        title = TextSettings(title_tokens=title_tokens, description_tokens=0, category_tokens=0)
        titles = ItemTokenizer(tokenizer, title).encode(texts)
        items = ItemTokenizer(tokenizer, settings).encode(texts)
        self._start = titles.ids[:1]
        self._titles, self._items = _without_start(titles), _without_start(items)
        self._history_tokens = history_tokens

    def pairs(self, lists: TextLists, owners: Rows, items: Rows) -> Tokens:
        """Pair each item [P] with the history of its list [P]; ``fields`` are 0 on the history, 1 on the candidate.

        Args:
            lists: where the histories are.
            owners: the list of each pair.
            items: the text row of each pair, all below ``lists.pad``.
        """
        before = {int(place): self._history(lists, int(place)) for place in np.unique(owners)}
        left = [before[int(owner)] for owner in owners]
        right = [self._items[int(item)] for item in items]
        lengths = np.array([len(a) + len(b) for a, b in zip(left, right, strict=True)], np.int64)
        nothing = np.empty(0, np.int32)
        segments = np.array([part for a, b in zip(left, right, strict=True) for part in (len(a), len(b))], np.int64)
        return Tokens(
            ids=np.concatenate([nothing, *chain.from_iterable(zip(left, right, strict=True))]),
            fields=np.repeat(np.tile(np.array([0, 1], np.int8), len(left)), segments),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        )

    def mean_length(self, history: int) -> float:
        """Estimate a pair's tokens from the catalog's means, for so many history entries."""
        title = float(np.mean([len(part) for part in self._titles]))
        item = float(np.mean([len(part) for part in self._items]))
        return 1 + min(float(self._history_tokens), history * title) + item

    def _history(self, lists: TextLists, place: int) -> npt.NDArray[np.int32]:
        known = (lists.history[place] < lists.pad) & ~np.isin(lists.actions[place], _NOT_READ)
        parts = [self._titles[int(row)] for row in lists.history[place][known]]
        fitting = int(np.searchsorted(np.cumsum([len(part) for part in parts]), self._history_tokens, side="right"))
        return np.concatenate([self._start, *parts[:fitting]])


def _without_start(tokens: Tokens) -> list[npt.NDArray[np.int32]]:
    return [part[1:] for part in np.split(tokens.ids, tokens.offsets[1:-1])]
