"""Reading on a GPU: texts to vectors, and pairs to logits, beside sentence-transformers and plain torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, console
from gpu_peers import GraphedBert, sentence_cross_encoder, sentence_encoder
from gpu_scale import DIMENSIONS, Device, Scale, latencies, milliseconds
from transformers import BertConfig, BertModel

from recsys.schema import ItemText
from recsys.text.encoder import ItemEncoder
from recsys.text.tokens import ItemTokenizer, TextSettings, Tokens
from training.click_model import ClickModelConfig
from training.click_model import ItemEncoder as TorchEncoder
from training.compute import encoder_flops
from training.export import convert_fp16, export_encoder

WORDS = 5_000
SETTINGS = TextSettings(title_tokens=32, description_tokens=96, category_tokens=0)


def reading_figures(device: Device, scale: Scale, rate: float, folder: Path) -> dict[str, Figure]:
    """Measure a BERT of drawn weights on texts of mixed lengths; ``rate`` is the device's, in FLOP/s."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(WORDS))]
    shape = BertConfig(
        vocab_size=len(words),
        hidden_size=scale.width,
        num_hidden_layers=scale.layers,
        num_attention_heads=12,
        intermediate_size=4 * scale.width,
    )
    bert = BertModel(shape, add_pooling_layer=False).eval()
    fp32 = export_encoder(TorchEncoder(bert, ClickModelConfig(dimensions=DIMENSIONS)))
    ours = {
        name: ItemEncoder(graph, cuda=device.name == "cuda") for name, graph in _precisions(fp32, device.name).items()
    }
    tokenizer = ItemTokenizer(_tokenizer(words), SETTINGS)
    texts = drawn_texts(scale.texts, mean=40)
    bert = bert.to(device.name, torch.bfloat16)
    bert.set_attn_implementation("sdpa")
    return {
        **_agreement(fp32, ours, tokenizer.encode([ItemText(title="a", description=text) for text in texts[:64]])),
        **_encoding(device, rate, ours, tokenizer, texts, bert, words, folder),
        **_pairs(device, scale, rate, ours, tokenizer, bert, words, folder),
    }


def _agreement(fp32: bytes, ours: dict[str, ItemEncoder], tokens: Tokens) -> dict[str, Figure]:
    """Compare vectors with those of the CPU, fp32."""
    expected, _ = ItemEncoder(fp32, cuda=False).encode(tokens)
    found = {name: encoder.encode(tokens)[0] for name, encoder in ours.items()}
    return {
        f"encoder_{name}_largest_difference": Figure(
            value=float(np.abs(vectors - expected).max()), unit="", says="of a vector's numbers, to the CPU's in fp32"
        )
        for name, vectors in found.items()
    }


def drawn_texts(count: int, *, mean: int, seed: int = 0) -> list[str]:
    """Draw texts of drawn words whose number spreads as that of real ones does: many short, few long."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(mean), 0.5, count), 4, SETTINGS.description_tokens).astype(int)
    return [" ".join(f"w{word}" for word in rng.integers(0, WORDS, length)) for length in lengths]


def _encoding(
    device: Device,
    rate: float,
    ours: dict[str, ItemEncoder],
    tokenizer: ItemTokenizer,
    texts: list[str],
    bert: Any,
    words: list[str],
    folder: Path,
) -> dict[str, Figure]:
    """Measure texts a second: with tokens at hand, and from the texts."""
    tokens = tokenizer.encode([ItemText(title="a", description=text) for text in texts])
    flops = _flops(bert.config, tokens)
    ways: dict[str, tuple[Callable[[], object], str]] = {
        name: (lambda encoder=encoder: encoder.encode(tokens), f"item encoder, {name}, tokens ready")
        for name, encoder in ours.items()
    }
    best = list(ours)[-1]
    ways[f"{best}_from_text"] = (
        lambda: ours[best].encode(tokenizer.encode([ItemText(title="a", description=text) for text in texts])),
        f"item encoder, {best}, from texts",
    )
    padded = GraphedBert(bert, device)
    ways["torch"] = (lambda: padded.read_all(tokens), "torch SDPA bf16, padded, sorted, CUDA graphs; tokens ready")
    if find_spec("sentence_transformers") is not None:
        encode = sentence_encoder(bert, words, folder, device)
        ways["sentence_transformers"] = (lambda: encode(texts), "sentence-transformers, bf16, from texts")
    else:
        console.print("sentence-transformers is not installed: left out")
    figures = {}
    for name, (work, says) in ways.items():
        seconds = float(np.median(milliseconds(device, work, 3))) / 1e3
        figures[f"encoder_{name}_per_s"] = Figure(value=len(texts) / seconds, unit="texts/s", says=says)
        share = flops / seconds / rate
        figures[f"encoder_{name}_share"] = Figure(value=share, unit="", says="of the measured matrix rate")
    return figures


def _pairs(
    device: Device,
    scale: Scale,
    rate: float,
    ours: dict[str, ItemEncoder],
    tokenizer: ItemTokenizer,
    bert: Any,
    words: list[str],
    folder: Path,
) -> dict[str, Figure]:
    """Measure a BERT over N pairs of a history and a candidate, one logit each: what a cross-encoder computes."""
    figures: dict[str, Figure] = {}
    padded = GraphedBert(bert, device)
    peer = sentence_cross_encoder(bert, words, folder, device) if find_spec("sentence_transformers") else None
    for count in scale.pairs:
        texts = drawn_texts(count, mean=60, seed=count)
        tokens = tokenizer.encode([ItemText(title="a", description=text) for text in texts])
        best = list(ours)[-1]
        ways: dict[str, tuple[Callable[[], object], str]] = {
            best: (lambda tokens=tokens, best=best: ours[best].encode(tokens), "our graph, tokens ready"),
            "torch": (lambda tokens=tokens: padded.read_all(tokens), "torch SDPA bf16, padded, CUDA graphs"),
        }
        if peer is not None:
            ways["sentence_transformers"] = (
                lambda texts=texts: peer([("w1 w2", text) for text in texts]),
                "sentence-transformers CrossEncoder bf16, from texts",
            )
        for name, (work, says) in ways.items():
            took = milliseconds(device, work, max(3, scale.calls // 10))
            figures |= latencies(f"cross_{count}_{name}", took, f"{count} pairs: {says}")
            share = _flops(bert.config, tokens) / (float(np.median(took)) / 1e3) / rate
            figures[f"cross_{count}_{name}_share"] = Figure(value=share, unit="", says="of the measured matrix rate")
    return figures


def _precisions(fp32: bytes, device: str) -> dict[str, bytes]:
    """Give the graphs to measure, the fastest last: a CPU computes fp16 in fp32, with casts."""
    return {"fp32": fp32, "fp16": convert_fp16(fp32)} if device == "cuda" else {"fp32": fp32}


def _flops(config: Any, tokens: Tokens) -> float:
    """Count the arithmetic that the texts need, padding left out."""
    return float(sum(encoder_flops(config, int(length)) for length in tokens.lengths))


def _tokenizer(words: list[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415  # only for the drawn words

    tokenizer = Tokenizer(models.WordPiece({word: code for code, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer
