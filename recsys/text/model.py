"""The text model as it is served: texts of a catalog encoded once, a click head per list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from recsys.crew import Crew
from recsys.schema import TEXT_OUTPUTS, ItemText
from recsys.text.encoder import ItemEncoder
from recsys.text.head import CANDIDATE_BLOCK, ClickHead
from recsys.text.query import prepend_query
from recsys.text.resident_head import ListRows
from recsys.text.room import Room
from recsys.text.tokens import ItemTokenizer, TextSettings
from recsys.text.vectors import Vectors

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """Tokenizer, encoder and click head of one bundle; ``crew`` shares the work of long lists."""

    tokenizer: ItemTokenizer
    encoder: ItemEncoder
    head: ClickHead
    crew: Crew
    room: Room = field(default_factory=Room)

    @classmethod
    def open(
        cls,
        files: Mapping[str, bytes],
        settings: TextSettings,
        *,
        grid: float,
        crew: Crew,
        threads: int = 1,
        cuda: bool | None = None,
    ) -> Self:
        """Open the files of a bundle; ``threads`` and ``cuda`` as ``ItemEncoder`` and ``ClickHead`` take them."""
        return cls(
            tokenizer=ItemTokenizer.from_json(files["tokenizer.json"], settings),
            encoder=ItemEncoder(files["item_encoder.onnx"], threads=threads, cuda=cuda),
            head=ClickHead(files["click_head.onnx"], threads=threads, cuda=cuda, grid=grid),
            crew=crew,
        )

    def encode(self, texts: Sequence[ItemText]) -> Vectors:
        """Encode texts that came with a request, each apart, so that no vector depends on its neighbours."""
        vectors, logits = self.encoder.encode_apart(self.tokenizer.encode(texts))
        return Vectors(vectors=vectors, item_logits=logits)

    def score(
        self,
        known: Vectors,
        items: npt.NDArray[np.integer],
        offsets: npt.NDArray[np.int64],
        history: npt.NDArray[np.integer],
        actions: npt.NDArray[np.int8],
        ages: Floats,
        *,
        queries: npt.NDArray[np.integer] | None = None,
        more: Vectors | None = None,
    ) -> Floats:
        """Return the text outputs of L lists with R candidates in all [R, 5], NaN where a candidate has no text.

        Lists of like length share a call of the click head, and idle threads share the calls; no output depends on it.

        Args:
            known: the vectors that rows refer to.
            items: rows of the candidates [R], -1 without a text.
            offsets: where each list begins [L + 1].
            history: rows of what each user did [L, H], newest first, -1 on padding.
            actions: action codes [L, H], 0 on padding.
            ages: hours since [L, H], -1 where unknown.
            queries: the row of each list's query [L], -1 without one; None where no list has one.
            more: texts beyond the known ones; their rows start at ``len(known)``.
        """
        if queries is not None:
            history, actions, ages = prepend_query(history, actions, ages, queries)
        asked = _Asked(known, more, items, history, actions * (history >= 0), ages)
        outputs = np.empty((len(items), len(TEXT_OUTPUTS)), np.float32)
        self.crew.share([partial(self._call, asked, pieces, outputs) for pieces in _calls(offsets, self.head.at_once)])
        if (without := items < 0).any():
            outputs[without] = np.nan
        return outputs

    def _call(self, asked: _Asked, pieces: Sequence[_Piece], outputs: Floats) -> None:
        """Have the click head score B pieces of lists, and write what it says where they stand in ``outputs``."""
        first = pieces[0].number
        # One list is a slice, which copies nothing.
        lists = slice(first, first + 1) if len(pieces) == 1 else [piece.number for piece in pieces]
        rows = np.zeros((len(pieces), pieces[0].width), np.int64)
        for place, piece in enumerate(pieces):
            rows[place, : piece.end - piece.begin] = asked.items[piece.begin : piece.end]
        asked_rows = ListRows(
            candidates=rows, history=asked.history[lists], actions=asked.codes[lists], ages=asked.ages[lists]
        )
        scored = self.head.score_rows(asked.known, asked_rows, asked.more, lambda: self._gathered(asked, asked_rows))
        for place, piece in enumerate(pieces):
            outputs[piece.begin : piece.end] = scored[place, : piece.end - piece.begin]

    def _gathered(self, asked: _Asked, of: ListRows) -> Floats:
        """Score by vectors that are gathered here, which is how the CPU does it."""
        lists, width = of.candidates.shape
        room = self.room.of(lists, width, of.history.shape[1], asked.known.vectors.shape[1])
        asked.known.gather(of.candidates, room.candidates, room.logits, asked.more)
        asked.known.gather(of.history, room.history, None, asked.more)
        return self.head.score(room.candidates, room.logits, room.history, of.actions, of.ages)


class _Asked(NamedTuple):
    """What the click head is asked of L lists with R candidates."""

    known: Vectors
    more: Vectors | None
    items: npt.NDArray[np.integer]  # [R]
    history: npt.NDArray[np.integer]  # [L, H]
    codes: npt.NDArray[np.int8]  # [L, H]
    ages: Floats  # [L, H]


class _Piece(NamedTuple):
    """Candidates ``begin`` to ``end`` of all, which list ``number`` has; ``width`` counts whole blocks of them."""

    number: int
    begin: int
    end: int
    width: int


def _calls(offsets: npt.NDArray[np.int64], at_once: int) -> list[list[_Piece]]:
    """Cut lists into pieces, and put pieces of one width together, ``at_once`` candidates in all.

    So nothing but whole blocks is filled up.
    """
    alike: dict[int, list[list[_Piece]]] = {}
    for number, (first, last) in enumerate(pairwise(offsets.tolist())):
        for begin in range(first, last, at_once):
            end = min(begin + at_once, last)
            width = -(-(end - begin) // CANDIDATE_BLOCK) * CANDIDATE_BLOCK
            calls = alike.setdefault(width, [[]])
            if (len(calls[-1]) + 1) * width > at_once:
                calls.append([])
            calls[-1].append(_Piece(number, begin, end, width))
    return [pieces for calls in alike.values() for pieces in calls if pieces]
