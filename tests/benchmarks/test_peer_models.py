"""sentence-transformers gets the very words that our models read, and the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from recsys.schema import ItemText
from recsys.text.tokens import ItemTokenizer, TextSettings

SHORT = ItemText(title="Wool socks", description="Warm, hand-knitted.", category="Clothing", tags=("socks", "wool"))
LONG = ItemText(title="Extraordinarily unputdownable " * 8, description="Incomprehensibilities abound! " * 30)
SETTINGS = TextSettings(title_tokens=10, description_tokens=20, category_tokens=6)


@pytest.fixture
def tokenizer() -> Tokenizer:
    """The packaged backbone's."""
    from peer_models import packaged_tokenizer

    return packaged_tokenizer()


@pytest.mark.parametrize("text", [SHORT, LONG, ItemText(title="Socks"), ItemText(title="Socks", category="Clothing")])
def test_a_shortened_text_as_a_string_has_the_tokens_that_our_encoder_reads(
    text: ItemText, tokenizer: Tokenizer
) -> None:
    from peer_models import item_string, shortened

    short = shortened(text, tokenizer, SETTINGS)
    ours = ItemTokenizer(tokenizer, SETTINGS).encode([short])

    assert tokenizer.encode(item_string(short)).ids == ours.ids.tolist()


def test_a_long_text_as_it_is_would_have_others(tokenizer: Tokenizer) -> None:
    from peer_models import item_string

    ours = ItemTokenizer(tokenizer, SETTINGS).encode([LONG])

    assert tokenizer.encode(item_string(LONG)).ids != ours.ids.tolist()


def test_a_text_is_cut_after_a_whole_word(tokenizer: Tokenizer) -> None:
    from peer_models import shortened

    cut = shortened(LONG, tokenizer, SETTINGS)

    assert set(cut.title.split()) == {"Extraordinarily", "unputdownable"}
    assert len(cut.title) < len(LONG.title)
    assert shortened(cut, tokenizer, SETTINGS) == cut


def test_a_word_longer_than_its_field_leaves_nothing(tokenizer: Tokenizer) -> None:
    from peer_models import shortened

    settings = TextSettings(title_tokens=2)

    assert shortened(ItemText(title="Unputdownable socks"), tokenizer, settings).title == ""
    assert shortened(ItemText(title="A saw, unputdownable"), tokenizer, settings).title == "A saw"


def test_a_history_ends_with_the_last_title_that_fits(tokenizer: Tokenizer) -> None:
    from peer_models import history_string

    titles = ["wool socks", "a hat", "gloves"]

    assert history_string(titles, tokenizer, 6) == "wool socks [SEP] a hat"
    assert history_string(titles, tokenizer, 5) == "wool socks"
    assert len(tokenizer.encode(history_string(titles, tokenizer, 6)).ids) == 1 + 6


def test_a_trained_pooling_is_refused(tmp_path: Path) -> None:
    import torch
    from peer_models import save_encoder
    from transformers import BertConfig, BertModel

    from training.click_model import ClickModelConfig, ItemEncoder

    small = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    encoder = ItemEncoder(BertModel(small, add_pooling_layer=False), ClickModelConfig())
    encoder.field_query.data = torch.ones_like(encoder.field_query)

    with pytest.raises(ValueError, match="no attention pooling"):
        save_encoder(encoder, tmp_path)
