"""The plain, expensive way: BERT reads history and candidate together, once per pair. Baseline and teacher.

As in "Passage re-ranking with BERT" (Nogueira and Cho, 2019), with the user's history in the place of the query.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from recsys.files import whole_directory
from recsys.schema import ItemText
from recsys.text.tokens import TextSettings
from training.backbone import load_backbone, load_tokenizer
from training.click_trainer import TrainerConfig, run_trainer
from training.compute import encoder_flops
from training.finetune import report_scores
from training.pair_network import PairNetwork
from training.pair_tokens import PairTokens
from training.text_lists import Rows, TextLists

SCORING_LISTS = 32


class CrossEncoderConfig(TrainerConfig):
    """How the cross-encoder reads and is trained."""

    epochs: int = Field(default=1, ge=1, description="passes over the lists")
    encoder_lr: float = Field(default=5e-5, gt=0, description="learning rate of the backbone")
    patience: int = Field(default=0, ge=0, description="epochs without a better validation AUC; 0 trains them all")
    backbone: str = Field(default="", description="folder or Hugging Face name; empty for the packaged MiniLM-L6")
    tokens: TextSettings = TextSettings()
    title_tokens: int = Field(default=16, ge=1, le=256, description="of each title in the history")
    history_tokens: int = Field(default=64, ge=1, le=400, description="of all titles in the history together")
    negatives: int = Field(default=4, ge=1, description="non-clicked items drawn beside a list's clicked one")
    lists_per_step: int = Field(default=16, ge=1)
    bce: float = Field(default=0.3, ge=0, description="weight of the binary cross-entropy beside the softmax")
    dropout: float = Field(default=0.1, ge=0, lt=1)


class CrossEncoder:
    """A trained cross-encoder over a fixed set of texts (catalog items, then queries)."""

    def __init__(
        self, network: PairNetwork, tokenizer: Tokenizer, texts: Sequence[ItemText], config: CrossEncoderConfig
    ) -> None:
        self.network = network
        self.config = config
        self._tokenizer = tokenizer
        self.pairs = PairTokens(
            texts,
            tokenizer,
            settings=config.tokens,
            title_tokens=config.title_tokens,
            history_tokens=config.history_tokens,
        )

    @torch.no_grad()
    def score(
        self, lists: TextLists, chosen: Rows, progress: Callable[[int], None] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the click logit of each item of the chosen lists, in order, NaN without a text; shape [R]."""
        self.network.eval()
        device = self.network.out.weight.device.type
        parts = []
        for start in range(0, len(chosen), SCORING_LISTS):
            part = chosen[start : start + SCORING_LISTS]
            items, owners = lists.items[lists.rows(part)], np.repeat(part, lists.lists.lengths[part])
            scores = np.full(len(items), np.nan)
            known = np.flatnonzero(items < lists.pad)
            if len(known):
                with torch.autocast(device, torch.bfloat16, enabled=self.config.bf16):
                    order, logits = self.network.read(self.pairs.pairs(lists, owners[known], items[known]))
                scores[known[order.cpu().numpy()]] = logits.cpu().numpy()
            parts.append(scores)
            if progress is not None:
                progress(start + len(part))
        return np.concatenate(parts) if parts else np.empty(0)

    def flops_per_request(self, candidates: int, history: int) -> float:
        """Estimate the arithmetic of one request from the catalog's mean text lengths; nothing can be kept ready."""
        return candidates * encoder_flops(self.network.backbone.config, self.pairs.mean_length(history))

    def save(self, directory: Path) -> None:
        """Write weights, tokenizer and configuration, whole or not at all; the texts stay outside.

        Raises:
            FileExistsError: ``directory`` exists already.
        """
        backbone: Any = self.network.backbone.config
        described = {"cross_encoder": self.config.model_dump(mode="json"), "backbone": backbone.to_dict()}
        with whole_directory(directory) as temporary:
            save_file(self.network.state_dict(), temporary / "model.safetensors")
            (temporary / "tokenizer.json").write_text(self._tokenizer.to_str(), encoding="utf-8")
            (temporary / "config.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, texts: Sequence[ItemText]) -> Self:
        """Read what ``save`` wrote, over some texts."""
        described = json.loads((directory / "config.json").read_bytes())
        config = CrossEncoderConfig.model_validate(described["cross_encoder"])
        kind = described["backbone"].pop("model_type")
        backbone = AutoModel.from_config(AutoConfig.for_model(kind, **described["backbone"]))
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        network = _network(backbone, config)
        network.load_state_dict(load_file(directory / "model.safetensors"))
        return cls(network, Tokenizer.from_file(str(directory / "tokenizer.json")), texts, config)


class _PairCollator:
    """Some lists -> one clicked item of each and some of its others, paired with the history; drawn by the lists."""

    def __init__(self, pairs: PairTokens, lists: TextLists, config: CrossEncoderConfig) -> None:
        self._pairs, self._lists, self._config = pairs, lists, config

    def __call__(self, numbers: list[int]) -> dict[str, Tensor]:
        rng = np.random.default_rng([self._config.seed, *numbers])
        shown = np.full((len(numbers), 1 + self._config.negatives), self._lists.pad, np.int64)
        for place, number in enumerate(numbers):
            rows = self._lists.rows(np.array([number]))
            rows = rows[self._lists.items[rows] < self._lists.pad]
            hit = self._lists.clicked[rows]
            drawn = [rng.choice(rows[hit]), *rng.permutation(rows[~hit])[: self._config.negatives]]
            shown[place, : len(drawn)] = self._lists.items[drawn]
        valid = shown < self._lists.pad
        owners = np.broadcast_to(np.array(numbers)[:, None], shown.shape)
        tokens = self._pairs.pairs(self._lists, owners[valid], shown[valid])
        clicked = np.zeros(shown.shape, np.float32)
        clicked[:, 0] = 1.0
        return {
            "pairs": torch.from_numpy(np.stack([tokens.ids, tokens.fields.astype(np.int32)])),
            "offsets": torch.from_numpy(tokens.offsets),
            "places": torch.from_numpy(np.flatnonzero(valid)),
            "clicked": torch.from_numpy(clicked),
            "weight": torch.from_numpy(self._lists.weight[numbers]),
        }


def train_cross_encoder(
    texts: Sequence[ItemText],
    lists: TextLists,
    *,
    training: Rows,
    validation: Rows,
    config: CrossEncoderConfig,
    output: Path,
    progress: Callable[[float, str], None] | None = None,
) -> CrossEncoder:
    """Train on some lists, those with both a click and a non-click; resumes from ``output``.

    Args:
        texts: what the rows of ``lists`` refer to, queries last.
        lists: lists with clicks and histories.
        training: lists to learn from.
        validation: lists that choose the best epoch; none keeps the last one.
        config: how to read and to train.
        output: checkpoints and TensorBoard logs.
        progress: told the share done and a remark.
    """
    torch.manual_seed(config.seed)
    network = _network(load_backbone(config.backbone, dropout=config.dropout), config)
    if torch.cuda.is_available():
        network.to("cuda")
    model = CrossEncoder(network, load_tokenizer(config.backbone), texts, config)

    def judge() -> dict[str, float]:
        return report_scores(model.score(lists, validation), lists, validation)

    run_trainer(
        network,
        backbone=network.backbone,
        numbers=_with_both_classes(lists, training),
        batch=config.lists_per_step,
        collate=_PairCollator(model.pairs, lists, config),
        judge=judge if len(validation) else None,
        config=config,
        output=output,
        progress=progress,
    )
    return model


def _network(backbone: nn.Module, config: CrossEncoderConfig) -> PairNetwork:
    return PairNetwork(backbone, dropout=config.dropout, bce=config.bce, start=-math.log(config.negatives))


def _with_both_classes(lists: TextLists, chosen: Rows) -> Rows:
    known = lists.items < lists.pad
    owner = lists.lists.list_of_row
    hits = np.bincount(owner[known & lists.clicked], minlength=len(lists))
    others = np.bincount(owner[known & ~lists.clicked], minlength=len(lists))
    return chosen[(hits[chosen] > 0) & (others[chosen] > 0)]
