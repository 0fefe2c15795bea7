"""Encoder and head in one: the loss, the table of vectors, frozen layers and adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.click_model import ClickHead, ClickModelConfig
from training.click_predictor import click_loss, prepare_head
from training.export import export_encoder

ALL = np.arange(30)


@pytest.fixture
def shop(tiny_shop: Any, tiny_backbone: Path) -> Any:
    """Texts, lists and their tokens: 30 items, 20 lists."""
    texts, topics = tiny_shop.make_texts(30)
    return tiny_shop.make_lists(topics, 20), tiny_shop.make_tokens(tiny_backbone, texts)


def batch_of(lists: Any, chosen: Any, rows: Any = ALL) -> dict[str, torch.Tensor]:
    batch = lists.batch(np.asarray(chosen))
    fields = {name: torch.from_numpy(getattr(batch, name)) for name in batch.__dataclass_fields__}
    return {"rows": torch.from_numpy(np.asarray(rows)), **fields}


def literal_loss(scores: Any, clicked: Any, valid: Any, weight: Any, bce: float) -> float:
    """The definition, one number at a time."""
    softmax = binary = lists = shown = 0.0
    for s, c, v, w in zip(scores.tolist(), clicked.tolist(), valid.tolist(), weight.tolist(), strict=True):
        known = [(score, hit) for score, hit, there in zip(s, c, v, strict=True) if there]
        negatives = [score for score, hit in known if not hit]
        hits = [score for score, hit in known if hit]
        for score, hit in known:
            binary += w * float(np.log1p(np.exp(-score if hit else score)))
            shown += w
        if negatives and hits:
            below = sum(np.exp(score) for score in negatives)
            softmax += w * float(np.mean([-np.log(np.exp(hit) / (np.exp(hit) + below)) for hit in hits]))
            lists += w
    return softmax / max(lists, 1e-6) + bce * binary / shown


@pytest.mark.parametrize("bce", [0.0, 0.3])
def test_the_loss_is_a_softmax_of_each_click_against_the_non_clicks_plus_bce(bce: float) -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(8, 6)))
    clicked = torch.from_numpy((rng.random((8, 6)) < 0.4).astype(np.float64))
    valid = torch.from_numpy(rng.random((8, 6)) < 0.8)
    valid[:, 0] = True
    weight = torch.from_numpy(rng.uniform(0.2, 2.0, 8))
    clicked[0], clicked[1] = 0.0, 1.0  # lists without both classes say nothing of order

    loss = float(click_loss(scores, clicked, valid, weight, bce=bce))

    assert loss == pytest.approx(literal_loss(scores, clicked, valid, weight, bce))


def test_a_batch_of_lists_without_both_classes_has_no_softmax_and_finite_gradients() -> None:
    scores = torch.zeros(2, 3, requires_grad=True)
    loss = click_loss(scores, torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), torch.ones(2), bce=0.0)
    loss.backward()

    assert loss.item() == 0.0
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_the_click_logit_starts_at_the_logs_click_rate_for_an_average_match() -> None:
    head = ClickHead(ClickModelConfig(dimensions=8, history_length=16, hidden=8))
    prepare_head(head, 0.1)
    average = 0.4 * float(head.mix.detach().sum())

    assert 1 / (1 + np.exp(-float(head.bias.detach()) - average)) == pytest.approx(0.1)


def test_a_forward_pass_gives_the_loss_of_what_refresh_and_score_say(
    shop: Any, tiny_shop: Any, tiny_backbone: Path
) -> None:
    lists, tokens = shop
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens).eval()
    batch = batch_of(lists, [0, 3, 7])
    loss = predictor(**batch)["loss"].item()
    predictor.refresh()
    scores = predictor.score(lists.batch(np.array([0, 3, 7])))[..., 0]
    valid = batch["candidates"] < lists.pad

    assert loss == pytest.approx(
        float(click_loss(scores, batch["clicked"], valid, batch["weight"], bce=predictor.bce)), rel=1e-5
    )


def test_only_the_encoded_rows_of_the_table_change_and_padding_stays_zero(
    shop: Any, tiny_shop: Any, tiny_backbone: Path
) -> None:
    lists, tokens = shop
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens)
    predictor(**batch_of(lists, [0, 1], rows=[4, 9]))
    changed = (predictor.vectors != 0).any(dim=1).nonzero().ravel().tolist()

    assert changed == [4, 9]


def test_the_gradient_reaches_the_backbone_through_candidates_and_through_the_history(
    shop: Any, tiny_shop: Any, tiny_backbone: Path
) -> None:
    lists, tokens = shop
    words = "encoder.backbone.embeddings.word_embeddings.weight"
    for rows in (lists.items[lists.rows(np.array([0]))], lists.history[0][lists.history[0] < lists.pad]):
        predictor = tiny_shop.make_predictor(tiny_backbone, tokens)
        predictor.refresh()
        predictor(**batch_of(lists, [0], rows=np.unique(rows)))["loss"].backward()

        assert float(dict(predictor.named_parameters())[words].grad.abs().sum()) > 0


@pytest.mark.parametrize("layers", [1, 2])
def test_cached_lower_layers_give_what_the_whole_backbone_gives(
    shop: Any, tiny_shop: Any, tiny_backbone: Path, layers: int
) -> None:
    _, tokens = shop
    whole = tiny_shop.make_predictor(tiny_backbone, tokens).eval()
    frozen = tiny_shop.make_predictor(tiny_backbone, tokens, frozen=layers).eval()
    frozen.load_state_dict(whole.state_dict())
    for bf16, tolerance in ((True, 0.03), (False, 1e-5), (True, 0.03)):  # the cache follows the precision
        with torch.no_grad(), whole.precision(bf16=bf16):
            order, vectors, logits = frozen.encode(ALL)
            expected_order, expected, expected_logits = whole.encode(ALL)

        assert torch.equal(order, expected_order)
        torch.testing.assert_close(vectors, expected, atol=tolerance, rtol=0)
        torch.testing.assert_close(logits, expected_logits, atol=tolerance, rtol=0)


def test_frozen_layers_get_no_gradient(shop: Any, tiny_shop: Any, tiny_backbone: Path) -> None:
    lists, tokens = shop
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens, frozen=1)
    predictor(**batch_of(lists, [0, 1, 2]))["loss"].backward()
    learning = {name for name, part in predictor.encoder.backbone.named_parameters() if part.grad is not None}

    assert learning
    assert all(name.startswith("encoder.layer.1.") for name in learning)


def test_probing_trains_what_stands_on_the_backbone_and_gives_everything_back(
    shop: Any, tiny_shop: Any, tiny_backbone: Path
) -> None:
    _, tokens = shop
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens, frozen=1)
    learning = {name for name, part in predictor.named_parameters() if part.requires_grad}
    with torch.no_grad():
        _, before, _ = predictor.eval().encode(ALL)
        with predictor.probing(bf16=False):
            order, probed, _ = predictor.encode(ALL)
            inside = {name for name, part in predictor.named_parameters() if part.requires_grad}
    by_row = torch.empty_like(before)
    by_row[predictor.encode(ALL)[0]] = before

    torch.testing.assert_close(probed, by_row[order])
    assert not any(name.startswith("encoder.backbone") for name in inside)
    assert {"encoder.project.weight", "head.mix"} <= inside
    assert {name for name, part in predictor.named_parameters() if part.requires_grad} == learning


def test_a_step_in_bf16_while_probing_computes_with_the_weights_of_now(
    shop: Any, tiny_shop: Any, tiny_backbone: Path
) -> None:
    _, tokens = shop
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens, frozen=1).eval()

    def vectors() -> torch.Tensor:
        with predictor.precision(bf16=True):  # what a trainer does for each step
            return predictor.encode(ALL)[1]

    with predictor.probing(bf16=True):
        before = vectors()
        with torch.no_grad():
            predictor.encoder.project.weight.neg_()
        after = vectors()

    torch.testing.assert_close(after, -before)


def test_adapters_alone_learn_and_fold_into_the_exported_graph(shop: Any, tiny_shop: Any, tiny_backbone: Path) -> None:
    lists, tokens = shop
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens, lora=2)
    before = {name: part.detach().clone() for name, part in predictor.encoder.backbone.named_parameters()}
    optimizer = torch.optim.SGD([p for p in predictor.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        predictor(**batch_of(lists, np.arange(20)))["loss"].backward()
        optimizer.step()
    moved = {
        name for name, part in predictor.encoder.backbone.named_parameters() if not torch.equal(part, before[name])
    }
    ids, fields = (torch.from_numpy(part) for part in tokens.padded(np.arange(4)))
    with torch.no_grad():
        adapted, _ = predictor.eval().encoder(ids, fields)
    export_encoder(predictor.encoder)
    with torch.no_grad():
        merged, _ = predictor.encoder(ids, fields)

    assert moved
    assert all("lora_" in name for name in moved)
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=1e-4)
    assert not any("lora" in name for name, _ in predictor.encoder.named_parameters())


def test_the_projection_starts_with_the_backbones_own_cosines(shop: Any, tiny_shop: Any, tiny_backbone: Path) -> None:
    _, tokens = shop
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens)
    pooled = torch.nn.functional.normalize(predictor._pool_all(), dim=-1)
    with torch.no_grad():
        order, vectors, _ = predictor.eval().encode(ALL)
    own, ours = pooled[order] @ pooled[order].T, vectors @ vectors.T

    # 16 of 32 axes are kept, the largest ones.
    assert float(torch.corrcoef(torch.stack([own.ravel(), ours.ravel()]))[0, 1]) > 0.95
