"""What is exported answers like what was trained, and the gate stops what does not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from recsys.bundle import check_onnx
from recsys.schema import ACTION_CODE
from recsys.text.encoder import ItemEncoder
from recsys.text.head import ClickHead
from recsys.text.vectors import Vectors
from training.click_model import ClickHead as TorchHead
from training.click_model import ClickModelConfig
from training.export import convert_fp16, export_encoder, export_head, fused_operators, quantize_int8
from training.finetune import score_lists
from training.parity import ParitySample, may_ship, parity

HEAD = ClickModelConfig()  # the sizes that are served: kernels differ with size


@pytest.fixture(scope="module")
def shop(tiny_shop: Any, tiny_backbone: Path) -> Any:
    """A predictor whose every weight counts, its lists and its tokens."""
    texts, topics = tiny_shop.make_texts(60)
    tokens = tiny_shop.make_tokens(tiny_backbone, texts)
    predictor = tiny_shop.make_predictor(tiny_backbone, tokens)
    with torch.no_grad():
        for part in (predictor.encoder.field_query, predictor.encoder.click_out, predictor.head.out):
            part.normal_(generator=torch.Generator().manual_seed(1))
    predictor.refresh()
    return predictor, tiny_shop.make_lists(topics, 200), tokens


@pytest.fixture(scope="module")
def graph(shop: Any) -> bytes:
    """The encoder in fp32."""
    return export_encoder(shop[0].encoder)


@pytest.fixture(scope="module")
def head() -> TorchHead:
    """A head none of whose weights is at its start."""
    torch.manual_seed(0)
    head = TorchHead(HEAD).eval()
    with torch.no_grad():
        for part in head.parameters():
            part.add_(torch.randn(part.shape) * 0.2)
    return head


@pytest.fixture(scope="module")
def head_graph(head: TorchHead) -> bytes:
    """The head in fp32."""
    return export_head(head, HEAD)


def question(candidates: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    actions = rng.integers(1, len(ACTION_CODE), HEAD.history_length).astype(np.int8)
    actions[30:] = 0
    asked = {
        "candidates": unit(rng.standard_normal((candidates, HEAD.dimensions))),
        "item_logits": rng.standard_normal(candidates).astype(np.float32),
        "history": unit(rng.standard_normal((HEAD.history_length, HEAD.dimensions))),
        "actions": actions,
        "ages": rng.uniform(-1, 500, HEAD.history_length).astype(np.float32),
    }
    return {name: part[None] for name, part in asked.items()}


def unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def judge(shop: Any, graph: bytes) -> dict[str, float]:
    """Measure a variant against the trained model, on all lists."""
    predictor, lists, tokens = shop
    vectors, logits = ItemEncoder(graph, threads=1, cuda=False).encode(tokens)
    trained = Vectors(vectors=predictor.vectors[:-1].numpy(), item_logits=predictor.item_logits[:-1].numpy())
    variant = Vectors(vectors=vectors, item_logits=logits)
    sample = ParitySample(
        logits=logits_with(predictor, trained, lists), clicked=lists.clicked, offsets=lists.lists.offsets
    )
    return parity(trained, variant, sample, logits_with(predictor, variant, lists))


def logits_with(predictor: Any, table: Vectors, lists: Any) -> Any:
    """Score all lists with the predictor's head and these vectors."""
    borrowed = copy.deepcopy(predictor)
    borrowed.vectors[:-1] = torch.from_numpy(table.vectors)
    borrowed.item_logits[:-1] = torch.from_numpy(table.item_logits)
    return score_lists(borrowed, lists, np.arange(len(lists)))[:, 0]


@pytest.mark.parametrize("rows", [[0], [1, 2, 3], list(range(60))])
def test_the_fp32_encoder_equals_the_trained_one_in_every_shape(shop: Any, graph: bytes, rows: list[int]) -> None:
    predictor, _, tokens = shop
    ids, fields = tokens.padded(np.array(rows))
    with torch.no_grad():
        vectors, logits = predictor.encoder.eval()(torch.from_numpy(ids), torch.from_numpy(fields))
    ours, our_logits = ItemEncoder(graph, threads=1, cuda=False)._run(ids, fields)

    np.testing.assert_allclose(ours, vectors.numpy(), atol=1e-5)
    np.testing.assert_allclose(our_logits, logits.numpy(), atol=1e-5 * float(logits.abs().max()))


@pytest.mark.parametrize("candidates", [1, 3, 16, 100])
def test_the_head_equals_the_trained_one_in_every_shape(head: TorchHead, head_graph: bytes, candidates: int) -> None:
    asked = question(candidates)
    tensors = {name: torch.from_numpy(part) for name, part in asked.items()}
    tensors["actions"] = tensors["actions"].long()
    with torch.no_grad():
        expected = head(**tensors).numpy()

    np.testing.assert_allclose(ClickHead(head_graph, threads=1, cuda=False).score(**asked), expected, atol=1e-5)


def test_every_attention_block_layer_norm_and_gelu_of_the_backbone_is_fused(graph: bytes) -> None:
    counts = fused_operators(graph)

    assert counts["Attention"] == 2
    assert counts["SkipLayerNormalization"] == 4
    assert counts["BiasGelu"] == 2


def test_exporting_leaves_the_trained_encoder_as_it_was(shop: Any) -> None:
    predictor, _, tokens = shop
    ids, fields = (torch.from_numpy(part) for part in tokens.padded(np.arange(5)))
    attention = predictor.encoder.backbone.config._attn_implementation
    with torch.no_grad():
        before, _ = predictor.encoder.eval()(ids, fields)
        export_encoder(predictor.encoder)
        after, _ = predictor.encoder(ids, fields)

    assert predictor.encoder.backbone.config._attn_implementation == attention
    assert torch.equal(before, after)


def test_fp32_and_fp16_pass_the_gate(shop: Any, graph: bytes) -> None:
    fp32, fp16 = judge(shop, graph), judge(shop, convert_fp16(graph))

    assert may_ship("fp32", fp32)
    assert fp32["max_difference"] < 1e-5
    assert may_ship("fp16", fp16)
    assert 1e-5 < fp16["max_difference"] < 0.02


def test_int8_loads_runs_and_stays_near(shop: Any, graph: bytes) -> None:
    small = quantize_int8(graph)
    figures = judge(shop, small)

    assert any(node.op_type == "QAttention" for node in onnx.load_from_string(small).graph.node)
    assert figures["min_cosine"] > 0.95
    assert figures["rank_agreement"] > 0.9


def test_every_variant_passes_the_structural_guard_of_bundles(graph: bytes, head_graph: bytes) -> None:
    for data in (graph, quantize_int8(graph), convert_fp16(graph), head_graph):
        check_onnx("model.onnx", data)


def test_a_graph_with_wrong_weights_does_not_ship(shop: Any, graph: bytes) -> None:
    model = onnx.load_from_string(graph)
    largest = max(model.graph.initializer, key=lambda part: np.prod(part.dims) * (part.name.count("project") + 1))
    wrong = numpy_helper.to_array(largest)[::-1].copy()
    largest.CopyFrom(numpy_helper.from_array(wrong, largest.name))
    figures = judge(shop, model.SerializeToString())

    assert not any(may_ship(precision, figures) for precision in ("fp32", "fp16", "int8"))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_candidates_outputs_do_not_change_by_one_bit_with_the_others(head_graph: bytes, threads: int) -> None:
    session = ClickHead(head_graph, threads=threads, cuda=False)
    asked = question(300)
    whole = session.score(**asked)

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 2**31), count=st.integers(1, 300))
    def same(seed: int, count: int) -> None:
        places = np.random.default_rng(seed).permutation(300)[:count]
        part = {name: asked[name][:, places] for name in ("candidates", "item_logits")}
        assert session.score(**{**asked, **part}).tobytes() == whole[:, places].tobytes()

    same()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("candidates", [5, 16, 100, 300])
def test_a_lists_outputs_do_not_change_by_one_bit_with_the_lists_beside_it(
    head_graph: bytes, threads: int, candidates: int
) -> None:
    session = ClickHead(head_graph, threads=threads, cuda=False)
    lists = [question(candidates, seed) for seed in range(7)]
    together = session.score(**{name: np.concatenate([each[name] for each in lists]) for name in lists[0]})

    for place, each in enumerate(lists):
        assert session.score(**each).tobytes() == together[place].tobytes()


def test_no_candidates_give_no_outputs(head_graph: bytes) -> None:
    assert ClickHead(head_graph, threads=1, cuda=False).score(**question(0)).shape == (1, 0, 5)
