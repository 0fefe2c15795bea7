"""The cross-encoder's network: BERT over a history and a candidate together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recsys.text.tokens import Tokens
from training.click_predictor import click_loss

TOKEN_BUDGET = 8_192


class PairNetwork(nn.Module):
    """BERT and one linear layer on the mean of its last states: a pair's tokens -> its click logit."""

    def __init__(self, backbone: nn.Module, *, dropout: float, bce: float, start: float) -> None:
        """Begin with the click logit ``start`` for every pair."""
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(int(backbone.config.hidden_size), 1)  # type: ignore[union-attr, arg-type]
        self.bce = bce
        nn.init.zeros_(self.out.weight)
        nn.init.constant_(self.out.bias, start)

    def forward(self, pairs: Tensor, offsets: Tensor, places: Tensor, **lists: Tensor) -> dict[str, Tensor]:
        """Return the loss on some lists.

        Args:
            pairs: ids and segments of all pairs' tokens, one pair after the other [2, T].
            offsets: where each pair begins [P + 1].
            places: where each pair stands in the flattened lists [P].
            lists: ``clicked`` [B, N], 1 where clicked, and ``weight`` [B].
        """
        ids, fields = pairs.cpu().numpy()
        tokens = Tokens(ids=ids, fields=fields, offsets=offsets.cpu().numpy())
        order, logits = self.read(tokens)
        clicked = lists["clicked"]
        scores = torch.zeros(clicked.numel(), device=logits.device).index_put((places[order],), logits)
        valid = torch.zeros_like(scores, dtype=torch.bool)
        valid[places] = True
        scores, valid = scores.view_as(clicked), valid.view_as(clicked)
        return {"loss": click_loss(scores, clicked, valid, lists["weight"], bce=self.bce)}

    def read(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Read pairs in batches of like length; return their numbers and click logits, in that order."""
        batches = list(tokens.batches(TOKEN_BUDGET))
        order = torch.from_numpy(np.concatenate(batches)).to(self.out.weight.device)
        return order, torch.cat([self.logits(*tokens.padded(rows)) for rows in batches])

    def logits(self, ids: npt.NDArray[np.int64], fields: npt.NDArray[np.int64]) -> Tensor:
        """Return the click logits [P] of padded pairs [P, T]; fields: 0 history, 1 candidate, -1 padding."""
        device = self.out.weight.device
        given, segments = torch.from_numpy(ids).to(device), torch.from_numpy(fields).to(device)
        mask = segments >= 0
        config: Any = self.backbone.config
        kinds = {"token_type_ids": segments.clamp(min=0)} if getattr(config, "type_vocab_size", 1) > 1 else {}
        hidden = self.backbone(input_ids=given, attention_mask=mask.long(), **kinds).last_hidden_state.float()
        pooled = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        logits: Tensor = self.out(self.dropout(pooled)).squeeze(-1).float()
        return logits
