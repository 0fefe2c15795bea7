"""The encoder starts at the backbone's mean, and a candidate's score is its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.schema import ACTION_CODE
from training.backbone import load_backbone
from training.click_model import ClickHead, ClickModelConfig, ItemEncoder

CONFIG = ClickModelConfig(dimensions=8, history_length=16, hidden=8)
IDS = torch.tensor([[2, 5, 6, 3, 7, 3], [2, 8, 3, 0, 0, 0]])
FIELDS = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, -1, -1, -1]])


@pytest.fixture(scope="module")
def encoder(tiny_backbone: Path) -> ItemEncoder:
    """An encoder as it is before training."""
    torch.manual_seed(0)
    return ItemEncoder(load_backbone(str(tiny_backbone), dropout=0.1), CONFIG).eval()


def trained_head(seed: int = 0) -> ClickHead:
    """A head none of whose weights is at its start, so that every path counts."""
    torch.manual_seed(seed)
    head = ClickHead(CONFIG).eval()
    with torch.no_grad():
        for part in head.parameters():
            part.add_(torch.randn(part.shape) * 0.3)
    return head


def question(lists: int = 2, candidates: int = 5, *, seed: int = 1) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randint(1, len(ACTION_CODE), (lists, 16), generator=generator)
    actions[:, 7:] = 0
    return {
        "candidates": torch.nn.functional.normalize(torch.randn(lists, candidates, 8, generator=generator), dim=-1),
        "item_logits": torch.randn(lists, candidates, generator=generator),
        "history": torch.nn.functional.normalize(torch.randn(lists, 16, 8, generator=generator), dim=-1),
        "actions": actions,
        "ages": torch.rand(lists, 16, generator=generator) * 100 - 1,
    }


def test_an_untrained_encoder_pools_the_mean_of_all_tokens(encoder: ItemEncoder) -> None:
    with torch.no_grad():
        hidden = encoder.backbone(input_ids=IDS, attention_mask=(FIELDS >= 0).long()).last_hidden_state
        pooled = encoder.pool(hidden, FIELDS)

    expected = torch.stack([hidden[0].mean(0), hidden[1, :3].mean(0)])
    torch.testing.assert_close(pooled, expected)


def test_a_text_is_encoded_the_same_beside_longer_ones(encoder: ItemEncoder) -> None:
    with torch.no_grad():
        encoder.click_out.normal_()
        vectors, logits = encoder(IDS, FIELDS)
        alone, alone_logits = encoder(IDS[1:, :3], FIELDS[1:, :3])

    torch.testing.assert_close(vectors[1:], alone)
    torch.testing.assert_close(logits[1:], alone_logits)


def test_vectors_have_length_one(encoder: ItemEncoder) -> None:
    with torch.no_grad():
        vectors, _ = encoder(IDS, FIELDS)

    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))


def test_each_field_is_pooled_by_its_own_query(encoder: ItemEncoder) -> None:
    hidden = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoder.field_bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
        pooled = encoder.pool(hidden, FIELDS[:1])
        encoder.field_bias.zero_()

    torch.testing.assert_close(pooled, hidden[:, 4:].mean(1))


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(5)), kept=st.integers(1, 5))
def test_a_candidates_outputs_depend_on_no_other_candidate(order: list[int], kept: int) -> None:
    asked, head = question(), trained_head()
    places = order[:kept]
    with torch.no_grad():
        whole = head(**asked)
        some = {**asked, "candidates": asked["candidates"][:, places], "item_logits": asked["item_logits"][:, places]}
        torch.testing.assert_close(head(**some), whole[:, places])


def test_a_list_is_scored_the_same_in_any_batch() -> None:
    asked, head = question(lists=3), trained_head()
    with torch.no_grad():
        alone = head(**{name: part[1:2] for name, part in asked.items()})
        torch.testing.assert_close(head(**asked)[1:2], alone)


def test_what_stands_on_padding_does_not_count() -> None:
    asked, head = question(), trained_head()
    other = {**asked, "history": asked["history"].clone(), "ages": asked["ages"].clone()}
    other["history"][:, 7:] = 9.0
    other["ages"][:, 7:] = 1e6
    with torch.no_grad():
        assert torch.equal(head(**asked), head(**other))


def test_without_a_history_nothing_is_similar_and_every_output_is_finite() -> None:
    asked = {**question(), "actions": torch.zeros(2, 16, dtype=torch.long)}
    with torch.no_grad():
        outputs = trained_head()(**asked)

    assert torch.isfinite(outputs).all()
    assert torch.equal(outputs[..., 3:], torch.zeros(2, 5, 2))


@pytest.mark.parametrize("name", ["history", "actions", "ages", "item_logits"])
def test_everything_that_is_asked_moves_the_score(name: str) -> None:
    asked, head = question(), trained_head()
    changed = {**asked, name: asked[name].flip(-1) if name == "item_logits" else asked[name].flip(1).contiguous()}
    with torch.no_grad():
        assert not torch.allclose(head(**asked)[..., 0], head(**changed)[..., 0])


def test_an_untrained_head_says_how_alike_candidate_and_history_are() -> None:
    asked = question()
    asked["actions"][:, :7] = ACTION_CODE["click"]
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = ClickHead(CONFIG).eval()(**asked)
    cosine = asked["candidates"] @ asked["history"][:, :7].transpose(1, 2)
    attended = ((cosine * 10).softmax(-1) * cosine).sum(-1)

    torch.testing.assert_close(outputs[..., 3], cosine.amax(-1))
    torch.testing.assert_close(outputs[..., 4], cosine.mean(-1))
    torch.testing.assert_close(outputs[..., 2], 6 * attended + 2 * cosine.amax(-1) + cosine.mean(-1))
    torch.testing.assert_close(outputs[..., 0], outputs[..., 1] + outputs[..., 2])


def test_a_history_length_that_breaks_bitwise_equality_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 16"):
        ClickModelConfig(history_length=20)
