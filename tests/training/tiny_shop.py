"""A shop with a known taste, small enough to learn in seconds, and a random BERT that can read it.

Run as a script it fine-tunes under ``torchrun``: ``tiny_shop.py BACKBONE OUT``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from recsys.features import Histories
from recsys.lists import Lists
from recsys.schema import ACTION_CODE, ItemText
from recsys.text.tokens import ItemTokenizer, TextSettings, Tokens
from training.text_lists import TextLists

TOPICS = (
    ("tea", "kettle", "leaf", "cup"),
    ("bike", "wheel", "saddle", "chain"),
    ("novel", "poem", "author", "page"),
    ("garden", "seed", "rose", "spade"),
)
FILLERS = ("the", "a", "good", "new", "big", "small", "old", "fine")
LENGTH = 16
DAY_US = 86_400_000_000


def make_backbone(folder: Path) -> Path:
    """Save a random BERT of two layers, 32 wide, with a WordPiece tokenizer of the shop's words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLERS, *(word for topic in TOPICS for word in topic)]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + list("abcdefghijklmnopqrstuvwxyz")
    words += [f"[unused{place}]" for place in range(100)]
    tokenizer = Tokenizer(models.WordPiece({word: code for code, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,  # a trained model's words are far apart
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_texts(items: int, seed: int = 0) -> tuple[list[ItemText], Any]:
    """Write items, each about one topic; return them and their topics."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, len(TOPICS), items)
    texts = [
        ItemText(
            title=" ".join([*rng.choice(TOPICS[topic], 2), str(rng.choice(FILLERS))]),
            description=" ".join(rng.choice(FILLERS, rng.integers(0, 6))),
        )
        for topic in topics
    ]
    return texts, topics


def make_lists(topics: Any, lists: int, *, shown: int = 6, noise: float = 0.05, seed: int = 1) -> TextLists:
    """Show each user a few items; they click those of the topic that fills their history, with some noise."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(topics), (lists, shown))
    taste = rng.integers(0, len(TOPICS), lists)
    rows[:, 0] = [rng.choice(np.flatnonzero(topics == topic)) for topic in taste]
    rows[:, 1] = [rng.choice(np.flatnonzero(topics != topic)) for topic in taste]
    rows = rng.permuted(rows, axis=1)
    clicked = (topics[rows] == taste[:, None]) ^ (rng.random(rows.shape) < noise)
    history = np.full((lists, LENGTH), -1, np.int32)
    for place, topic in enumerate(taste):
        known = rng.integers(2, 6)
        history[place, :known] = rng.choice(np.flatnonzero(topics == topic), known)
    actions = np.where(history >= 0, ACTION_CODE["click"], 0).astype(np.int8)
    ages = np.where(history >= 0, 5.0, 0.0).astype(np.float32)
    return TextLists(
        plain_lists(rows),
        Histories(rows=history, actions=actions, ages=ages),
        clicked.ravel(),
        pad=len(topics),
        query_rows=np.full(lists, -1, np.int32),
        weight=np.ones(lists, np.float32),
    )


def plain_lists(rows: Any) -> Lists:
    """Make lists of equal length from a rectangle of catalog rows."""
    lists, shown = rows.shape
    return Lists(
        user_ids=[f"user-{place}" for place in range(lists)],
        ts=DAY_US * (1 + np.arange(lists, dtype=np.int64)),
        item_rows=rows.ravel().astype(np.int32),
        offsets=np.arange(lists + 1, dtype=np.int64) * shown,
        histories=[None] * lists,
        queries=[""] * lists,
        surfaces=[""] * lists,
    )


def make_tokens(backbone: Path, texts: list[ItemText]) -> Tokens:
    """Tokenize the texts with the random BERT's tokenizer."""
    from training.backbone import load_tokenizer

    return ItemTokenizer(load_tokenizer(str(backbone)), TextSettings()).encode(texts)


def make_predictor(backbone: Path, tokens: Tokens, *, dropout: float = 0.0, frozen: int = 0, lora: int = 0) -> Any:
    """Build the click predictor over the random BERT."""
    import torch

    from training.backbone import load_backbone, with_lora
    from training.click_model import ClickHead, ClickModelConfig, ItemEncoder
    from training.click_predictor import ClickPredictor, prepare_head

    torch.manual_seed(0)
    bert = load_backbone(str(backbone), dropout=dropout)
    if lora:
        bert = with_lora(bert, lora)
    config = ClickModelConfig(dimensions=16, history_length=LENGTH, hidden=16, dropout=dropout)
    head = ClickHead(config)
    prepare_head(head, 0.3)
    predictor = ClickPredictor(ItemEncoder(bert, config), head, tokens, frozen_layers=frozen, bce=0.3)
    predictor.start_from_backbone()
    return predictor


def tune(**settings: Any) -> Any:
    """Configure a fine-tuning that fits the shop."""
    from training.finetune import FinetuneConfig

    small = {"epochs": 2, "items_per_step": 16, "lists_per_step": 64, "frozen_layers": 0, "bf16": False, "dropout": 0.0}
    return FinetuneConfig.model_validate({**small, "encoder_lr": 1e-3, "head_lr": 3e-3, **settings})


def main(backbone: Path, out: Path) -> None:
    """Fine-tune in this process of a ``torchrun`` and save what its rank ends with."""
    import torch
    from safetensors.torch import save_file
    from torch import distributed

    from training.finetune import finetune

    torch.set_num_threads(1)
    texts, topics = make_texts(40)
    lists = make_lists(topics, 120)
    for name, options in {"frozen": {"frozen": 1}, "lora": {"lora": 2}}.items():
        predictor = make_predictor(backbone, make_tokens(backbone, texts), dropout=0.1, **options)
        finetune(
            predictor,
            lists,
            training=np.arange(100),
            validation=np.arange(100, 120),
            config=tune(items_per_step=8, patience=1),
            output=out / name,
        )
        state = {key: part.contiguous() for key, part in predictor.state_dict().items()}
        save_file(state, out / f"{name}-{distributed.get_rank()}.safetensors")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
