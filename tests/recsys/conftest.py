"""A small planted bundle, with real ONNX graphs and LightGBM trees; and the suite's own bundle, for items to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from recsys.bundle import BundleFiles
    from recsys.pipeline import RankingPipeline


@pytest.fixture(scope="session")
def ranker_text() -> bytes:
    """Three trees on three columns, as LightGBM writes them."""
    import lightgbm as lgb

    rng = np.random.default_rng(7)
    table = rng.normal(size=(200, 3))
    label = (table[:, 0] + 0.3 * rng.normal(size=200) > 0).astype(float)
    params = {"objective": "binary", "num_leaves": 4, "num_threads": 1, "verbose": -1, "seed": 7, "deterministic": True}
    booster = lgb.train(params, lgb.Dataset(table, label, feature_name=["a", "b", "c"]), num_boost_round=3)
    return booster.model_to_string().encode()


@pytest.fixture(scope="session")
def planted_onnx() -> bytes:
    """One node that adds the weights 1, 2 to its input."""
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, [2], np.array([1, 2], np.float32).tobytes(), raw=True)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def planted_files(ranker_text: bytes, planted_onnx: bytes) -> dict[str, bytes]:
    """Return the files of a bundle, the optional int8 encoder among them."""
    return {
        "item_encoder.onnx": planted_onnx,
        "item_encoder.int8.onnx": planted_onnx,
        "click_head.onnx": planted_onnx,
        "tokenizer.json": b'{"version": "1.0"}',
        "ranker.txt": ranker_text,
        "ranker_behaviour.txt": ranker_text,
        "calibration.json": b'{"x": [0.0], "y": [0.5]}',
        "item_calibration.json": b'{"x": [0.0], "y": [0.1]}',
        "items.parquet": b"PAR1 items PAR1",
        "vectors.safetensors": bytes(range(256)),
        "state.safetensors": bytes(range(255, -1, -1)),
    }


@pytest.fixture(scope="session")
def planted_draft() -> Any:
    """Return what training would say of these files."""
    from recsys.bundle import GoldenRequest, ManifestDraft, TextModel, TextVariant, TrainingWindow
    from recsys.schema import Candidate, HistoryEntry, ItemText, RankRequest

    request = RankRequest(
        user_id="ann",
        candidates=(Candidate(item_id="tea"), Candidate(item_id="new", text=ItemText(title="Pot", tags=("a", "b")))),
        ts=1_700_000_000_000_000,
        history=(HistoryEntry(item_id="cup", action="cart", ts=5),),
        query="café",
    )
    return ManifestDraft(
        feature_names=("clicks_7d", "age"),
        feature_fingerprint="f" * 16,
        ranker_columns=("text_logit", "clicks_7d", "age"),
        text=TextModel(
            fingerprint="e" * 16,
            tokenizer={"title": 24, "description": 48},
            dimensions=256,
            history_length=20,
            skips=True,
            variants={
                "fp32": TextVariant(file="item_encoder.onnx", shipped=True, figures={"max_difference": 0.0}),
                "int8": TextVariant(file="item_encoder.int8.onnx", shipped=True, figures={"max_difference": 0.02}),
                "fp16": TextVariant(file="item_encoder.fp16.onnx", shipped=False, figures={"max_difference": 0.5}),
            },
        ),
        window=TrainingWindow(first_ts=1, last_ts=2, lists=3, items=4),
        metrics={"full": {"auc": {"value": 0.78, "low": 0.77, "high": 0.79}}},
        config={"seed": 7},
        golden=(GoldenRequest(request=request, scores={"tea": 0.1 + 0.2, "new": -1e-17}, order=("tea", "new")),),
    )


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> BundleFiles:
    from recsys.bundle import read_bundle

    return read_bundle(tiny_bundle)


@pytest.fixture
def opened(bundle: BundleFiles) -> Iterator[Callable[..., RankingPipeline]]:
    """Load the bundle as often as asked, and close all at the end."""
    from recsys.pipeline import RankingPipeline

    pipelines: list[RankingPipeline] = []

    def load(store: Path | None = None) -> RankingPipeline:
        pipelines.append(RankingPipeline(bundle.files, bundle.manifest, cuda=False))
        if store is not None:
            pipelines[-1].keep_vectors(store)
        return pipelines[-1]

    yield load
    for pipeline in pipelines:
        pipeline.close()


@pytest.fixture
def pipeline(opened: Callable[..., RankingPipeline]) -> RankingPipeline:
    return opened()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "vectors.sqlite"
