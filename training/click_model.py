"""The text click predictor in PyTorch: an item encoder that reads each item once, and a click head per request.

Shapes: B lists, N candidates, H history entries (newest first), D vector width, T tokens, I items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # PyTorch's own convention

from recsys.errors import ConfigError
from recsys.schema import ACTIONS
from recsys.text.tokens import FIELDS

NEGATIVE_INFINITY = -1e4  # finite in bf16 and fp16, and exp() of it is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickModelConfig:
    """Sizes of the click model; the backbone brings its own."""

    dimensions: int = 256
    history_length: int = 48
    hidden: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.history_length % 16:
            # ONNX Runtime's sums over rows that do not start on a vector register's border depend on the row's place.
            raise ConfigError(f"history_length {self.history_length} is not a multiple of 16; use 16, 32, 48 ...")


class ItemEncoder(nn.Module):
    """BERT, attention pooling with a query per field, and two outputs: a vector and an item-only click logit.

    The pooling queries start at zero, which is the mean over all tokens, so training begins at the backbone's own
    sentence embedding (attention pooling: Wu et al., "NRMS", EMNLP 2019).
    """

    def __init__(self, backbone: nn.Module, config: ClickModelConfig) -> None:
        super().__init__()
        width = int(backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.backbone = backbone
        self.field_query = nn.Parameter(torch.zeros(len(FIELDS), width))
        self.field_bias = nn.Parameter(torch.zeros(len(FIELDS)))
        self.project = nn.Linear(width, config.dimensions, bias=False)
        self.click = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, 128), nn.GELU())
        self.click_out = nn.Parameter(torch.zeros(128))

    def forward(self, ids: Tensor, fields: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit vectors [I, D] and item-only click logits [I]; field -1 marks padding."""
        mask = fields >= 0
        hidden = self.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.outputs(self.pool(hidden, fields))

    def pool(self, hidden: Tensor, fields: Tensor) -> Tensor:
        """Pool the backbone's last hidden states [I, T, W] over the tokens; returns [I, W]."""
        mask = fields >= 0
        logits = (hidden @ self.field_query.T) / math.sqrt(hidden.shape[-1]) + self.field_bias
        logits = logits.gather(-1, fields.clamp(min=0).unsqueeze(-1)).squeeze(-1).float()
        weights = torch.softmax(logits.masked_fill(~mask, NEGATIVE_INFINITY), dim=-1)
        return (weights.unsqueeze(1).to(hidden.dtype) @ hidden).squeeze(1).float()

    def outputs(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Turn pooled states [I, W] into unit vectors [I, D] and item-only click logits [I]."""
        vectors = F.normalize(self.project(pooled).float(), dim=-1)
        return vectors, (self.click(pooled) * self.click_out).sum(-1).float()


class ClickHead(nn.Module):
    """Match of each candidate with the user's history; a candidate never sees another candidate.

    Each candidate attends to the history by cosine, and by a learned affinity ("goes with", not only "looks like")
    that starts at zero; action, reversed position and age shift the attention. From it come the attended cosine and
    u, the history as this candidate sees it. match = attended, maximum and mean cosine, each with a learned weight,
    plus an MLP on [u, c, u * c].
    """

    def __init__(self, config: ClickModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.dimensions
        self.action = nn.Embedding(len(ACTIONS), width)
        self.action_sign = nn.Parameter(torch.ones(len(ACTIONS)))
        self.action_bias = nn.Parameter(torch.zeros(len(ACTIONS)))
        self.position_bias = nn.Parameter(torch.zeros(config.history_length))
        self.age_slope = nn.Parameter(torch.zeros(len(ACTIONS)))
        self.temperature = nn.Parameter(torch.tensor(math.log(10.0)))
        self.mix = nn.Parameter(torch.tensor([6.0, 2.0, 1.0]))
        self.query = nn.Linear(width, config.hidden, bias=False)
        self.key = nn.Linear(width, config.hidden, bias=False)
        # One linear layer on [u, c, u * c], in three parts: nothing has to be copied side by side.
        self.from_user = nn.Linear(width, config.hidden)
        self.from_candidate = nn.Linear(width, config.hidden, bias=False)
        self.from_product = nn.Linear(width, config.hidden, bias=False)
        self.activation = nn.Sequential(nn.GELU(), nn.Dropout(config.dropout))
        self.out = nn.Parameter(torch.zeros(config.hidden))
        self.bias = nn.Parameter(torch.tensor(0.0))
        nn.init.normal_(self.action.weight, std=0.002)  # beside unit vectors, whose components are about 0.06
        nn.init.zeros_(self.query.weight)
        for layer in (self.key, self.from_user, self.from_candidate, self.from_product):
            layer.weight.data.mul_(math.sqrt(width))  # they read unit vectors

    def forward(
        self, candidates: Tensor, item_logits: Tensor, history: Tensor, actions: Tensor, ages: Tensor
    ) -> Tensor:
        """Return [B, N, 5] in the order of ``recsys.schema.TEXT_OUTPUTS``.

        Args:
            candidates: unit vectors [B, N, D].
            item_logits: item-only click logits [B, N].
            history: unit vectors [B, H, D], newest first.
            actions: action codes [B, H], 0 on padding.
            ages: hours since each action [B, H], -1 where unknown.
        """
        known = (actions > 0).unsqueeze(1)  # [B, 1, H]
        some = known.any(-1)  # [B, 1]
        cosine = candidates @ history.transpose(1, 2)  # [B, N, H]
        affinity = self.query(candidates) @ self.key(history).transpose(1, 2)
        shift = (
            self.action_bias[actions] + self.position_bias + self.age_slope[actions] * torch.log1p(ages.clamp(min=0))
        )
        logits = cosine * self.temperature.exp() + affinity + shift.unsqueeze(1)
        attention = logits.masked_fill(~known, NEGATIVE_INFINITY).softmax(-1) * some.unsqueeze(-1)
        sign = self.action_sign[actions].unsqueeze(1)
        attended = (attention * cosine * sign).sum(-1)
        liked = known & (sign > 0)
        maximum = cosine.masked_fill(~liked, -1.0).amax(-1) * liked.any(-1)
        mean = (cosine * liked).sum(-1) / liked.sum(-1).clamp(min=1)
        user = attention.to(history.dtype) @ (history + self.action(actions).to(history.dtype))
        hidden = self.from_user(user) + self.from_candidate(candidates) + self.from_product(user * candidates)
        # Sums of products, not matrix products with one column: those round differently with the number of rows.
        similarity = attended * self.mix[0] + maximum * self.mix[1] + mean * self.mix[2]
        match = similarity + (self.activation(hidden) * self.out).sum(-1)
        text = match + item_logits + self.bias
        return torch.stack([text, item_logits, match, maximum, mean], -1)
