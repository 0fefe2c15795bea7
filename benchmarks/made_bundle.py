"""A bundle at scale whose models are of full size and know nothing: for measuring how fast one is served."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.bundle import ManifestDraft, TextModel, TextVariant, TrainingWindow
from recsys.calibration import Calibration
from recsys.catalog import Catalog
from recsys.dataset import read_dataset
from recsys.features import FeatureState, assemble, column_names, features_and_histories
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.registry import Registry
from recsys.schema import TEXT_OUTPUTS
from recsys.text.grid import TEXT_GRID
from recsys.text.tokens import TextSettings
from recsys.text.vectors import Vectors
from training.golden import golden_requests
from training.simulate import simulate
from training.simulator.config import SimulationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the bundle is."""

    items: int = 50_000
    users: int = 400
    lists: int = 12_000
    history: int = 48
    dimensions: int = 256
    trees: int = 300
    leaves: int = 63
    fitted_lists: int = 2_000


def make_bundle(folder: Path, scale: Scale, seed: int = 0) -> Path:
    """Publish a bundle of this scale in a registry below ``folder``; returns the bundle's directory."""
    simulate(SimulationConfig(seed=seed, items=scale.items, users=scale.users, lists=scale.lists), folder / "dataset")
    dataset = read_dataset(folder / "dataset")
    catalog = Catalog(dataset.items)
    state = FeatureState(catalog)
    rng = np.random.default_rng(seed)
    newest = Lists.from_impressions(dataset.impressions.tail(scale.fitted_lists), catalog)
    behaviour, _ = features_and_histories(state, dataset.impressions, None, newest, scale.history, skips=False)
    text = rng.standard_normal((len(behaviour), len(TEXT_OUTPUTS))).astype(np.float32)
    table = assemble(text, behaviour, newest.offsets, state.feature_set.names)
    items = BytesIO()
    dataset.items.write_parquet(items)
    files = {
        **_text_files(scale, len(catalog), rng),
        "ranker.txt": _trees(table, column_names(state.feature_set.names), scale.trees, scale, rng),
        "ranker_behaviour.txt": _trees(behaviour, state.feature_set.names, 10, scale, rng),
        "calibration.json": Calibration(scores=(-1.0, 1.0), probabilities=(0.05, 0.5)).to_json(),
        "item_calibration.json": Calibration(scores=(-1.0, 1.0), probabilities=(0.05, 0.5)).to_json(),
        "items.parquet": items.getvalue(),
        "state.safetensors": state.to_bytes(),
    }
    draft = _draft(scale, state, dataset.impressions, len(catalog))
    golden = golden_requests(dataset.impressions, RankingPipeline(files, draft, cuda=False))
    registry = Registry(folder / "registry")
    return registry.path(registry.publish(files, draft.model_copy(update={"golden": golden})))


def _text_files(scale: Scale, items: int, rng: np.random.Generator) -> dict[str, bytes]:
    """Export a head of full size, an encoder that is never asked for much, and random unit vectors."""
    import torch  # noqa: PLC0415  # slow to import
    from transformers import BertConfig, BertModel  # noqa: PLC0415

    from training.backbone import load_tokenizer  # noqa: PLC0415
    from training.click_model import ClickHead, ClickModelConfig, ItemEncoder  # noqa: PLC0415
    from training.export import export_encoder, export_head  # noqa: PLC0415

    torch.manual_seed(0)
    config = ClickModelConfig(dimensions=scale.dimensions, history_length=scale.history)
    tokenizer = load_tokenizer("")
    small = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
    )
    encoder = ItemEncoder(BertModel(small, add_pooling_layer=False), config)
    vectors = rng.standard_normal((items, scale.dimensions), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = rng.standard_normal(items).astype(np.float32)
    return {
        "item_encoder.onnx": export_encoder(encoder),
        "click_head.onnx": export_head(ClickHead(config), config),
        "tokenizer.json": tokenizer.to_str().encode(),
        "vectors.safetensors": Vectors(vectors=vectors, item_logits=logits).to_bytes(),
    }


def _trees(
    table: npt.NDArray[np.float32], names: tuple[str, ...], trees: int, scale: Scale, rng: np.random.Generator
) -> bytes:
    """Fit trees to noise: as deep and as wide as real ones, on figures as real ones see them."""
    parameters = {
        "objective": "regression",
        "num_leaves": scale.leaves,
        "min_data_in_leaf": 20,
        "max_bin": 63,
        "feature_fraction": 0.2,
        "num_threads": 1,
        "verbose": -1,
        "seed": 0,
        "deterministic": True,
    }
    data = lgb.Dataset(table, rng.standard_normal(len(table)), feature_name=list(names))
    return lgb.train(parameters, data, num_boost_round=trees).model_to_string().encode()


def _draft(scale: Scale, state: FeatureState, impressions: pl.DataFrame, items: int) -> ManifestDraft:
    ts = impressions["ts"].dt.epoch("us")
    return ManifestDraft(
        feature_names=state.feature_set.names,
        feature_fingerprint=state.feature_set.fingerprint,
        ranker_columns=column_names(state.feature_set.names),
        text=TextModel(
            fingerprint="made-for-benchmarks",
            tokenizer=TextSettings().model_dump(),
            dimensions=scale.dimensions,
            history_length=scale.history,
            grid=TEXT_GRID,
            variants={"fp32": TextVariant(file="item_encoder.onnx", shipped=True)},
        ),
        window=TrainingWindow(first_ts=int(ts[0]), last_ts=int(ts[-1]), lists=impressions.height, items=items),
    )
