"""Encoder and head as one trainable model: a batch is some items, and every list that they teach something about.

The items of a batch are encoded once each, with gradient. Whatever else their lists hold, other candidates and
histories, comes from a table of vectors that is refreshed whenever an item is encoded (as in cross-batch memory, Wang
et al., CVPR 2020, and historical embeddings, Fey et al., "GNNAutoScale", ICML 2021). So one pass over the texts of a
catalog learns from all of its lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F  # noqa: N812  # PyTorch's own convention

from recsys.schema import TEXT_OUTPUTS
from recsys.text.tokens import Tokens
from training.backbone import layers_of
from training.click_model import NEGATIVE_INFINITY, ClickHead, ItemEncoder
from training.text_lists import ListBatch, Rows

ENCODE_BUDGET = 8_192
TEXT_LOGIT, MATCH_LOGIT = TEXT_OUTPUTS.index("text_logit"), TEXT_OUTPUTS.index("match_logit")


class ClickPredictor(nn.Module):
    """The text click predictor over a fixed set of texts (catalog items, then queries)."""

    def __init__(
        self, encoder: ItemEncoder, head: ClickHead, tokens: Tokens, *, frozen_layers: int, bce: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.bce = bce
        self.frozen_layers = frozen_layers
        self._tokens = tokens
        self._lower: Tensor | None = None
        self._pooled: Tensor | None = None
        dimensions = encoder.project.out_features
        self.register_buffer("vectors", torch.zeros(len(tokens) + 1, dimensions))
        self.register_buffer("item_logits", torch.zeros(len(tokens) + 1))
        self._freeze()

    vectors: Tensor
    item_logits: Tensor

    @contextmanager
    def probing(self, *, bf16: bool) -> Iterator[None]:
        """Train for a while only what stands on the backbone: its pooled output is computed once and kept."""
        learning = {name: part.requires_grad for name, part in self.named_parameters()}
        for part in (*self.encoder.backbone.parameters(), self.encoder.field_query, self.encoder.field_bias):
            part.requires_grad_(False)  # noqa: FBT003  # PyTorch's own signature
        # Not around the block: autocast keeps its bf16 copies of the weights until its outermost context ends, so that
        # a trainer inside would compute with the weights of the first step for ever.
        with self.precision(bf16=bf16):
            self._pooled = self._pool_all()
        try:
            yield
        finally:
            self._pooled = None
            for name, part in self.named_parameters():
                part.requires_grad_(learning[name])

    def precision(self, *, bf16: bool) -> torch.autocast:
        """Return the context in which to compute outside of a trainer."""
        return torch.autocast(self.vectors.device.type, torch.bfloat16, enabled=bf16)

    def forward(self, rows: Tensor, **lists: Tensor) -> dict[str, Tensor]:
        """Encode the items ``rows`` and return the loss on the lists: fields of ``ListBatch``, twice.

        Those that begin with ``drawn_`` are of lists whose other items were drawn, not shown: only the match counts.
        """
        order, vectors, logits = self.encode(rows.cpu().numpy())
        table = self.vectors.index_put((order,), vectors)
        table_logits = self.item_logits.index_put((order,), logits)
        loss = self._loss(table, table_logits, lists, "", output=TEXT_LOGIT, bce=self.bce)
        if "drawn_candidates" in lists:
            loss = loss + self._loss(table, table_logits, lists, "drawn_", output=MATCH_LOGIT, bce=0.0)
        self._remember(order, vectors.detach(), logits.detach())
        return {"loss": loss}

    def _loss(
        self, table: Tensor, logits: Tensor, lists: dict[str, Tensor], prefix: str, *, output: int, bce: float
    ) -> Tensor:
        candidates, clicked, history, actions, ages, weight = (
            lists[prefix + name] for name in ListBatch.__dataclass_fields__
        )
        scores = self._score(table, logits, candidates, history, actions, ages)[..., output].float()
        return click_loss(scores, clicked, candidates < len(self._tokens), weight, bce=bce)

    def encode(self, rows: Rows, budget: int = ENCODE_BUDGET) -> tuple[Tensor, Tensor, Tensor]:
        """Encode some texts, shortest first; return their rows, vectors and item-only logits, in that order."""
        if self._pooled is not None:
            chosen = torch.from_numpy(rows).to(self.vectors.device)
            return chosen, *self.encoder.outputs(self._pooled[chosen])
        parts = [(part, *self._encode_batch(part)) for part in self._buckets(rows, budget)]
        order = torch.from_numpy(np.concatenate([part for part, _, _ in parts])).to(self.vectors.device)
        return order, torch.cat([vectors for _, vectors, _ in parts]), torch.cat([logits for _, _, logits in parts])

    @torch.no_grad()
    def refresh(self, rows: Rows | None = None) -> None:
        """Encode every text, or some, anew into the table."""
        training = self.training
        self.eval()
        self._remember(*self.encode(np.arange(len(self._tokens)) if rows is None else rows, 2 * ENCODE_BUDGET))
        self.train(training)

    def remember(self, rows: Rows, vectors: npt.NDArray[np.float32], item_logits: npt.NDArray[np.float32]) -> None:
        """Put vectors and item-only logits that came from elsewhere into the table."""
        self._remember(*(torch.from_numpy(part).to(self.vectors.device) for part in (rows, vectors, item_logits)))

    @torch.no_grad()
    def score(self, batch: ListBatch) -> Tensor:
        """Return the text outputs [B, N, 5] from the table as it stands."""
        self.eval()
        device = self.vectors.device
        rows = (
            torch.from_numpy(part).to(device) for part in (batch.candidates, batch.history, batch.actions, batch.ages)
        )
        return self._score(self.vectors, self.item_logits, *rows)

    @torch.no_grad()
    def start_from_backbone(self) -> None:
        """Turn the projection to the principal axes of the catalog's pooled vectors, keeping their cosines."""
        pooled = F.normalize(self._pool_all(), dim=-1)
        _, axes = torch.linalg.eigh(pooled.T @ pooled)  # eigenvalues ascend
        self.encoder.project.weight.copy_(axes.T.flip(0)[: self.encoder.project.out_features])

    @torch.no_grad()
    def _pool_all(self) -> Tensor:
        """Pool every text as the encoder stands; shape [I, W], in row order."""
        training = self.training
        self.eval()
        pooled = torch.empty(len(self._tokens), self.encoder.project.in_features, device=self.vectors.device)
        for rows in self._tokens.batches(2 * ENCODE_BUDGET):
            pooled[torch.from_numpy(rows)] = self.encoder.pool(*self._hidden(rows))
        self.train(training)
        return pooled

    def _score(
        self, table: Tensor, logits: Tensor, candidates: Tensor, history: Tensor, actions: Tensor, ages: Tensor
    ) -> Tensor:
        if torch.is_autocast_enabled(table.device.type):  # gather what the head will compute in, at half the traffic
            table = table.to(torch.get_autocast_dtype(table.device.type))
        # embedding() gathers with a gradient that adds up in place; fancy indexing would sort first.
        scored: Tensor = self.head(
            F.embedding(candidates, table), logits[candidates], F.embedding(history, table), actions, ages
        )
        return scored

    @torch.no_grad()
    def _remember(self, order: Tensor, vectors: Tensor, logits: Tensor) -> None:
        if self.training and distributed.is_available() and distributed.is_initialized():
            order, vectors, logits = _gathered(order), _gathered(vectors), _gathered(logits)
        self.vectors[order] = vectors.to(self.vectors.dtype)
        self.item_logits[order] = logits.to(self.item_logits.dtype)

    def _buckets(self, rows: Rows, budget: int) -> Iterator[Rows]:
        lengths = self._tokens.lengths[rows]
        order = np.argsort(lengths, kind="stable")
        start = 0
        while start < len(order):
            cost = lengths[order[start:]] * np.arange(1, len(order) - start + 1)
            size = max(1, int(np.searchsorted(cost, budget, side="right")))
            yield np.asarray(rows[order[start : start + size]])
            start += size

    def _encode_batch(self, rows: Rows) -> tuple[Tensor, Tensor]:
        hidden, fields = self._hidden(rows)
        return self.encoder.outputs(self.encoder.pool(hidden, fields))

    def _hidden(self, rows: Rows) -> tuple[Tensor, Tensor]:
        ids, fields = (torch.from_numpy(part).to(self.vectors.device) for part in self._tokens.padded(rows))
        if not self.frozen_layers:
            states = self.encoder.backbone(input_ids=ids, attention_mask=(fields >= 0).long()).last_hidden_state
            return states, fields
        states = self._lower_states(rows, fields)
        for layer in layers_of(self.encoder.backbone)[self.frozen_layers :]:
            states = layer(states, _attention_mask(fields))
        return states, fields

    def _freeze(self) -> None:
        if not self.frozen_layers:
            return
        backbone = self.encoder.backbone
        backbone.embeddings.requires_grad_(False)  # noqa: FBT003
        for place, layer in enumerate(layers_of(backbone)):
            if place < self.frozen_layers:
                layer.requires_grad_(False)  # noqa: FBT003  # PyTorch's own signature

    def _lower_states(self, rows: Rows, fields: Tensor) -> Tensor:
        kind = self.vectors.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        if self._lower is None or self._lower.dtype != dtype:  # what is exported is compared in fp32
            self._lower = self._run_lower_layers(dtype)
        starts = torch.from_numpy(self._tokens.offsets[:-1][rows])
        source = starts[:, None] + torch.arange(fields.shape[1])
        source = torch.where(fields.cpu() >= 0, source, 0)
        return self._lower[source].to(self.vectors.device)

    @torch.no_grad()
    def _run_lower_layers(self, dtype: torch.dtype) -> Tensor:
        """Run the frozen layers once over all texts; states of every token [T, width], on the CPU."""
        backbone, tokens = self.encoder.backbone, self._tokens
        training = self.training
        self.eval()
        flat = torch.zeros(len(tokens.ids), int(backbone.config.hidden_size), dtype=dtype)  # type: ignore[union-attr, arg-type]
        for rows in tokens.batches(2 * ENCODE_BUDGET):
            ids, fields = (torch.from_numpy(part).to(self.vectors.device) for part in tokens.padded(rows))
            states = backbone.embeddings(input_ids=ids)  # type: ignore[operator]
            for layer in layers_of(backbone)[: self.frozen_layers]:
                states = layer(states, _attention_mask(fields))
            target = tokens.offsets[:-1][rows, None] + np.arange(fields.shape[1])
            inside = fields.cpu() >= 0
            flat[torch.from_numpy(target)[inside]] = states.to("cpu", dtype)[inside]
        self.train(training)
        return flat


def click_loss(scores: Tensor, clicked: Tensor, valid: Tensor, weight: Tensor, *, bce: float) -> Tensor:
    """Softmax of each clicked item against the list's non-clicked ones, plus BCE so that the logit means something.

    Args:
        scores: click logits [B, N].
        clicked: 1 where clicked [B, N].
        valid: False on padding [B, N].
        weight: weight of each list [B].
        bce: weight of the binary cross-entropy.
    """
    hit = clicked > 0
    negatives = scores.masked_fill(~valid | hit, NEGATIVE_INFINITY).logsumexp(-1, keepdim=True)
    known = clicked * valid
    against = (F.softplus(negatives - scores) * known).sum(-1) / known.sum(-1).clamp(min=1)
    both = (hit & valid).any(-1) & (valid & ~hit).any(-1)
    lists = weight * both
    softmax = (against * lists).sum() / lists.sum().clamp(min=1e-6)
    binary = F.binary_cross_entropy_with_logits(scores, clicked, reduction="none")
    shown = valid * weight[:, None]
    return softmax + bce * (binary * shown).sum() / shown.sum().clamp(min=1e-6)


def prepare_head(head: ClickHead, click_rate: float) -> None:
    """Start the click logit at the log's click rate; an untrained match is about 0.4 of its weights' sum."""
    rate = min(max(click_rate, 1e-6), 1 - 1e-6)
    with torch.no_grad():
        head.bias.fill_(float(np.log(rate / (1 - rate))) - 0.4 * float(head.mix.sum()))


def _attention_mask(fields: Tensor) -> Tensor:
    width = fields.shape[1]
    return (fields >= 0)[:, None, None, :].expand(-1, 1, width, -1)


def _gathered(part: Tensor) -> Tensor:
    """Concatenate every process's rows; each may hold a different number of them."""
    world = distributed.get_world_size()
    parts: list[Tensor | None] = [None] * world
    distributed.all_gather_object(parts, part.cpu())
    return torch.cat([other for other in parts if other is not None]).to(part.device)
