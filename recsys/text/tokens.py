"""From what an item says to token ids: title, description and category as separate fields of one sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from recsys.errors import BundleError
from recsys.schema import ItemText

FIELDS = ("title", "description", "category")


class TextSettings(BaseModel):
    """How texts are cut: at most so many word pieces per field, the field's separator not counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title_tokens: int = Field(default=24, ge=1, le=256)
    description_tokens: int = Field(default=48, ge=0, le=400)
    category_tokens: int = Field(default=32, ge=0, le=128)

    @property
    def budgets(self) -> tuple[int, int, int]:
        """The word-piece limits in the order of ``FIELDS``."""
        return (self.title_tokens, self.description_tokens, self.category_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Ragged token ids of n texts: text ``i`` is ``ids[offsets[i]:offsets[i + 1]]``, ``fields`` its tokens' fields."""

    ids: npt.NDArray[np.int32]
    fields: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Count each text's tokens; shape [n]."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.integer]) -> Tokens:
        """Return some of the texts, in the order asked for."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        source = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return Tokens(ids=self.ids[source], fields=self.fields[source], offsets=offsets)

    def padded(self, rows: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return ids and fields of some texts, each [b, longest], padded on the right: id 0, field -1."""
        lengths = self.lengths[rows]
        width = int(lengths.max(initial=1))
        inside = np.arange(width) < lengths[:, None]
        source = (self.offsets[:-1][rows, None] + np.arange(width))[inside]
        ids = np.zeros(inside.shape, np.int64)
        fields = np.full(inside.shape, -1, np.int64)
        ids[inside] = self.ids[source]
        fields[inside] = self.fields[source]
        return ids, fields

    def batches(self, token_budget: int) -> Iterator[npt.NDArray[np.int64]]:
        """Cut the texts, shortest first, into batches whose padded rectangle stays within the budget."""
        order = np.argsort(self.lengths, kind="stable")
        lengths = self.lengths[order]
        start = 0
        while start < len(order):
            # Lengths ascend, so the last text of a batch sets its width, and the first how many there are at most.
            window = lengths[start : start + token_budget // max(1, int(lengths[start])) + 1]
            cost = window * np.arange(1, len(window) + 1)
            size = max(1, int(np.searchsorted(cost, token_budget, side="right")))
            yield order[start : start + size]
            start += size


@lru_cache(maxsize=4)
def _read(data: bytes) -> Tokenizer:
    """Read a tokenizer, once for all bundles that have the same: reading holds Python's lock for tens of ms."""
    return Tokenizer.from_str(data.decode())


class ItemTokenizer:
    """Turns item texts into tokens with the tokenizer that the text model was trained with."""

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.settings = settings
        start, end = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
        if start is None or end is None:
            start, end = (tokenizer.token_to_id(name) for name in ("<s>", "</s>"))
        if start is None or end is None:
            raise BundleError("the tokenizer has neither [CLS]/[SEP] nor <s>/</s>; use a BERT-family checkpoint")
        self._start, self._end = int(start), int(end)

    @classmethod
    def from_json(cls, data: bytes, settings: TextSettings) -> Self:
        """Read a ``tokenizer.json``."""
        try:
            return cls(_read(data), settings)
        except Exception as error:  # the library raises bare Exception
            raise BundleError("tokenizer.json cannot be read; train and publish the bundle again") from error

    def encode(self, texts: Sequence[ItemText]) -> Tokens:
        """Tokenize texts: ``[CLS] title [SEP] description [SEP] category and tags [SEP]``, absent fields left out."""
        read = [self.fields(text) for text in texts]
        columns = [
            self._pieces([fields[place] for fields in read], budget)
            for place, budget in enumerate(self.settings.budgets)
        ]
        counts = np.array([count for _, count in columns])  # [F, n]
        # A separator after each field; the first one is there always, and begins with the start token.
        widths = counts + (counts > 0)
        widths[0] = counts[0] + 2
        lengths = widths.sum(0)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        begins = offsets[:-1] + np.cumsum(widths, axis=0) - widths
        ids = np.full(offsets[-1], self._end, np.int32)
        ids[offsets[:-1]] = self._start
        begins[0] += 1
        for (pieces, count), begin in zip(columns, begins, strict=True):
            ids[np.arange(len(pieces)) + np.repeat(begin - np.cumsum(count) + count, count)] = pieces
        fields = np.repeat(np.tile(np.arange(len(widths), dtype=np.int8), len(texts)), widths.T.ravel())
        return Tokens(ids=ids, fields=fields, offsets=offsets)

    def fields(self, text: ItemText) -> tuple[str, ...]:
        """Return what is read of a text, in the order of ``FIELDS``: texts that agree in it have the same tokens."""
        said = (text.title, text.description, ", ".join(filter(None, (text.category, *text.tags))))
        # About eight characters a word piece is plenty; cutting first keeps hostile texts linear in cost.
        return tuple(field[: 16 * budget] for field, budget in zip(said, self.settings.budgets, strict=True))

    def _pieces(self, texts: list[str], budget: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the word pieces of one field of all texts, one text after the other, and how many each has [n]."""
        if budget == 0:
            return np.empty(0, np.int32), np.zeros(len(texts), np.int64)
        read = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        counts = np.fromiter((min(len(one), budget) for one in read), np.int64, len(texts))
        pieces = chain.from_iterable(one.ids[:budget] for one in read)
        return np.fromiter(pieces, np.int32, int(counts.sum())), counts
