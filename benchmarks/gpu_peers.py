"""What item encoder and cross-encoder are compared with on a GPU, of the same BERT: plain torch, and a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_scale import Device
from torch import Tensor

from recsys.text.tokens import Tokens

# Texts of one batch, and the step in which their padded length grows: each shape is one CUDA graph.
BATCH, STEP = 128, 16


class GraphedBert:
    """A BERT in torch over padded, sorted batches; on a GPU each shape's kernels are recorded once and played again."""

    def __init__(self, bert: Any, device: Device) -> None:
        self._bert, self._device = bert, device
        self._recorded: dict[tuple[int, int], tuple[Any, Tensor, Tensor, Tensor]] = {}

    def read_all(self, tokens: Tokens) -> np.ndarray:
        """Return the mean state of each text [n, W], shortest first."""
        order = np.argsort(tokens.lengths, kind="stable")
        parts = []
        for begin in range(0, len(order), BATCH):
            ids, fields = tokens.padded(order[begin : begin + BATCH])
            rows, width = BATCH if len(order) > BATCH else len(ids), -(-ids.shape[1] // STEP) * STEP
            shape = ((0, rows - len(ids)), (0, width - ids.shape[1]))
            mask = np.pad((fields >= 0).astype(np.int64), shape)
            mask[len(ids) :, 0] = 1  # a text of padding alone has no mean
            read = self._read(torch.from_numpy(np.pad(ids, shape)), torch.from_numpy(mask))
            parts.append(read[: len(ids)].float().cpu().numpy())
        return np.concatenate(parts)

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self._device.name != "cuda":
            return self._forward(ids, mask)
        key = (ids.shape[0], ids.shape[1])
        if key not in self._recorded:
            self._recorded[key] = self._record(ids.cuda(), mask.cuda())
        graph, given_ids, given_mask, outputs = self._recorded[key]
        given_ids.copy_(ids, non_blocking=True)
        given_mask.copy_(mask, non_blocking=True)
        graph.replay()
        return outputs.clone()

    def _record(self, ids: Tensor, mask: Tensor) -> tuple[Any, Tensor, Tensor, Tensor]:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # what is made on first use must not be recorded
                self._forward(ids, mask)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._forward(ids, mask)
        return graph, ids, mask, outputs

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        # A mask of four axes is taken as it is: making one asks the GPU for its contents, which cannot be recorded.
        wide = torch.zeros(mask.shape, dtype=torch.bfloat16, device=mask.device).masked_fill(mask == 0, -1e4)
        hidden = self._bert(input_ids=ids, attention_mask=wide[:, None, None, :].expand(-1, 1, ids.shape[1], -1))
        states = hidden.last_hidden_state * mask.unsqueeze(-1)
        return states.sum(1) / mask.sum(1, keepdim=True)


def sentence_encoder(bert: Any, words: Sequence[str], folder: Path, device: Device) -> Callable[[list[str]], Any]:
    """Return sentence-transformers' way to encode texts, with the same weights and the mean of the states."""
    from sentence_transformers import SentenceTransformer, models  # noqa: PLC0415  # installed on few machines

    path = folder / "encoder"
    _save(bert, words, path)
    read = models.Transformer(str(path), max_seq_length=128)
    model = SentenceTransformer(modules=[read, models.Pooling(bert.config.hidden_size)], device=device.name)
    model = model.to(torch.bfloat16)
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def sentence_cross_encoder(bert: Any, words: Sequence[str], folder: Path, device: Device) -> Callable[[Any], Any]:
    """Return sentence-transformers' way to score pairs, with a BERT of the same shape."""
    from sentence_transformers import CrossEncoder  # noqa: PLC0415  # installed on few machines
    from transformers import BertForSequenceClassification  # noqa: PLC0415

    path, config = folder / "cross", bert.config
    config.num_labels = 1
    _save(BertForSequenceClassification(config), words, path)
    model = CrossEncoder(str(path), device=device.name, max_length=128, model_kwargs={"torch_dtype": torch.bfloat16})
    return lambda pairs: model.predict(pairs, batch_size=BATCH, show_progress_bar=False)


def _save(model: Any, words: Sequence[str], path: Path) -> None:
    """Save a model with a tokenizer of the drawn words, as both libraries read them."""
    from transformers import BertTokenizerFast  # noqa: PLC0415  # only for the peers

    model.save_pretrained(path)
    vocabulary = path / "vocab.txt"
    vocabulary.write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(path)
