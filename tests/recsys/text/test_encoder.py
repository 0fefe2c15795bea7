"""An encoder whose GPU fails encodes the same texts all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.gpu import Gpu, GpuState
from recsys.text.encoder import ItemEncoder
from recsys.text.tokens import Tokens

NO_MEMORY = "Non-zero status code returned while running Attention node. Failed to allocate memory for requested buffer"
LOST = "CUBLAS failure 14: CUBLAS_STATUS_INTERNAL_ERROR ; GPU=0 ; hostname=h"


@pytest.fixture(scope="module")
def graph() -> bytes:
    """Encode a text as its ids' sum, and that again as the logit."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in ("ids", "fields")]
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["b", 1])
    logits = helper.make_tensor_value_info("item_logits", TensorProto.FLOAT, ["b"])
    last = helper.make_tensor("last", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "last"], ["vectors"], keepdims=1),
        helper.make_node("ReduceSum", ["numbers", "last"], ["item_logits"], keepdims=0),
    ]
    made = helper.make_graph(nodes, "g", ends, [vectors, logits], [last])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


class Failing:
    """A session that fails as ONNX Runtime does, a few times, then works."""

    def __init__(self, session: Any, *errors: str) -> None:
        self.session, self.errors = session, list(errors)
        self.sizes: list[int] = []

    def run(self, outputs: Any, feeds: Any) -> Any:
        self.sizes.append(len(feeds["ids"]))
        if self.errors:
            raise RuntimeError(self.errors.pop(0))
        return self.session.run(outputs, feeds)


@pytest.mark.parametrize(
    ("errors", "sizes", "state"),
    [
        ([], [3], GpuState.USED),
        ([NO_MEMORY], [3, 2, 1], GpuState.USED),
        ([NO_MEMORY, NO_MEMORY], [3, 2], GpuState.RESTING),
        ([LOST], [3], GpuState.LOST),
    ],
)
def test_texts_are_encoded_whatever_the_gpu_does(
    graph: bytes, errors: list[str], sizes: list[int], state: GpuState
) -> None:
    encoder, gpu = ItemEncoder(graph, threads=1, cuda=False), Gpu()
    gpu.use()
    failing = Failing(encoder._session, *errors)
    encoder._session, encoder._gpu = failing, gpu
    tokens = Tokens(
        ids=np.array([1, 2, 10, 20, 100, 200], np.int32), fields=np.zeros(6, np.int8), offsets=np.array([0, 2, 4, 6])
    )

    vectors, logits = encoder.encode(tokens)

    assert vectors[:, 0].tolist() == [3.0, 30.0, 300.0]
    assert logits.tolist() == [3.0, 30.0, 300.0]
    assert failing.sizes == sizes
    assert gpu.state is state


def test_batches_made_ahead_of_a_gpu_give_each_text_its_own_vector(
    graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.text.encoder.TOKEN_BUDGET_ON_GPU", 30)
    encoder, gpu = ItemEncoder(graph, threads=1, cuda=False), Gpu()
    gpu.use()
    encoder._gpu = gpu
    lengths = np.random.default_rng(0).integers(1, 9, 200)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(1).integers(1, 100, offsets[-1]).astype(np.int32)
    tokens = Tokens(ids=ids, fields=np.zeros(len(ids), np.int8), offsets=offsets)
    told: list[int] = []

    vectors, logits = encoder.encode(tokens, progress=told.append)

    assert vectors[:, 0].tolist() == logits.tolist() == np.add.reduceat(ids, offsets[:-1]).astype(float).tolist()
    assert (len(told) > 20, sum(told)) == (True, 200)


def test_a_batch_made_for_a_gpu_that_is_lost_goes_to_the_cpu_in_small_ones(
    graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.text.encoder.TOKEN_BUDGET_ON_GPU", 1_000)
    monkeypatch.setattr("recsys.text.encoder.TOKEN_BUDGET", 30)
    encoder, gpu = ItemEncoder(graph, threads=1, cuda=False), Gpu()
    gpu.use()
    on_cpu = Failing(encoder._session)
    encoder._session, encoder._gpu = Failing(encoder._session, LOST), gpu
    encoder._on_cpu = lambda: on_cpu
    tokens = Tokens(ids=np.ones(200, np.int32), fields=np.zeros(200, np.int8), offsets=np.arange(0, 201, 4))

    vectors, _ = encoder.encode(tokens)

    assert vectors[:, 0].tolist() == [4.0] * 50
    assert on_cpu.sizes == [7] * 7 + [1]  # of 4 tokens each


def test_an_error_among_batches_made_ahead_reaches_the_caller(graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.text.encoder.TOKEN_BUDGET_ON_GPU", 2)
    encoder, gpu = ItemEncoder(graph, threads=1, cuda=False), Gpu()
    gpu.use()
    encoder._session, encoder._gpu = Failing(encoder._session, "INVALID_ARGUMENT"), gpu
    tokens = Tokens(ids=np.ones(8, np.int32), fields=np.zeros(8, np.int8), offsets=np.arange(9))

    with pytest.raises(RuntimeError, match="INVALID_ARGUMENT"):
        encoder.encode(tokens)
