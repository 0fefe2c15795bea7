"""Texts become tokens: fields apart, budgets kept, batches within their budget."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from recsys.errors import BundleError
from recsys.schema import ItemText
from recsys.text.tokens import ItemTokenizer, TextSettings, Tokens

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "wool", "hat", "warm", "winter"]


def word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: code for code, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def tokens_of(*texts: ItemText, **budgets: int) -> Tokens:
    return ItemTokenizer(word_tokenizer(), TextSettings(**budgets)).encode(texts)


def test_each_field_is_named_and_closed_by_its_separator() -> None:
    tokens = tokens_of(ItemText(title="red hat", description="warm", category="wool"))

    assert [WORDS[code] for code in tokens.ids] == ["[CLS]", "red", "hat", "[SEP]", "warm", "[SEP]", "wool", "[SEP]"]
    assert tokens.fields.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


def test_an_absent_field_leaves_no_trace() -> None:
    tokens = tokens_of(ItemText(title="red hat", category="wool"))

    assert tokens.fields.tolist() == [0, 0, 0, 0, 2, 2]


def test_tags_are_read_after_the_category() -> None:
    tokens = tokens_of(ItemText(title="hat", category="wool", tags=("warm", "winter")))

    assert [WORDS[code] for code in tokens.ids[3:]] == ["wool", "[UNK]", "warm", "[UNK]", "winter", "[SEP]"]


def test_each_field_is_cut_at_its_own_budget() -> None:
    tokens = tokens_of(ItemText(title="red red red", description="warm " * 50), title_tokens=2, description_tokens=3)

    assert tokens.fields.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_padding_stands_on_the_right_and_has_field_minus_one() -> None:
    tokens = tokens_of(ItemText(title="red wool hat"), ItemText(title="hat"))

    ids, fields = tokens.padded(np.array([0, 1]))

    assert ids[1].tolist() == [2, 6, 3, 0, 0]
    assert fields[1].tolist() == [0, 0, 0, -1, -1]


def test_a_megabyte_without_spaces_costs_no_more_than_its_budget() -> None:
    tokenizer = ItemTokenizer(word_tokenizer(), TextSettings(title_tokens=4))

    assert len(tokenizer.encode([ItemText(title="x" * 8_000)]).ids) <= 6


PARTS = st.lists(st.sampled_from(WORDS[4:]), max_size=6).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.builds(ItemText, title=PARTS, description=PARTS, category=PARTS), max_size=6),
    title=st.integers(1, 4),
    description=st.integers(0, 4),
)
def test_a_text_has_the_same_tokens_alone_and_among_others(texts: list[ItemText], title: int, description: int) -> None:
    def expected(text: ItemText) -> list[tuple[str, int]]:
        cut = [
            part.split()[:budget]
            for part, budget in zip(
                (text.title, text.description, text.category), (title, description, 32), strict=True
            )
        ]
        fields = [
            [(word, field) for word in (*words, "[SEP]")] for field, words in enumerate(cut) if words or not field
        ]
        return [("[CLS]", 0), *(token for tokens in fields for token in tokens)]

    tokens = tokens_of(*texts, title_tokens=title, description_tokens=description)
    words = [WORDS[code] for code in tokens.ids]
    found = list(zip(words, tokens.fields.tolist(), strict=True))

    assert [found[a:b] for a, b in pairwise(tokens.offsets.tolist())] == [expected(text) for text in texts]


def test_a_tokenizer_without_separators_is_refused_with_the_remedy() -> None:
    bare = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))

    with pytest.raises(BundleError, match="use a BERT-family checkpoint"):
        ItemTokenizer(bare, TextSettings())


def test_garbage_is_no_tokenizer() -> None:
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read"):
        ItemTokenizer.from_json(b"{", TextSettings())


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60), budget=st.integers(1, 500))
def test_batches_hold_every_text_once_and_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = Tokens(ids=np.zeros(offsets[-1], np.int32), fields=np.zeros(offsets[-1], np.int8), offsets=offsets)

    batches = list(tokens.batches(budget))

    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or tokens.lengths[rows].max() * len(rows) <= budget
    for rows, following in pairwise(batches):
        assert (len(rows) + 1) * tokens.lengths[following[0]] > budget, "one more would have fitted in"
