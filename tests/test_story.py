"""The whole story on a tiny shop: simulate, validate, train, verify, serve, rank over gRPC, and beat popularity."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from recsys.dataset import Dataset, read_dataset, validate
from recsys.registry import Registry, resolve
from recsys.verification import verify
from serving.client import RankingClient
from training.baselines import popularity
from training.config import load_config
from training.simulate import simulate
from training.simulator.config import SimulationConfig
from training.split import test_lists as newest_lists
from training.train import train

pytestmark = pytest.mark.slow

LISTS_ASKED = 120
SETTINGS = [
    "slices=[0.5]",
    "warm_epochs=3",
    "finetune.epochs=1",
    "finetune.items_per_step=64",
    "finetune.lists_per_step=128",
    "finetune.frozen_layers=4",
    "text.tokens.title_tokens=12",
    "text.tokens.description_tokens=16",
    "text.tokens.category_tokens=8",
    "ranker.trees=60",
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shop") / "dataset"
    simulate(SimulationConfig(seed=1, items=200, users=150, lists=2_400, list_length=12, days=10), directory)
    return directory


@pytest.fixture(scope="module")
def registry(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("registry")
    train(read_dataset(shop), directory, load_config(None, SETTINGS), lambda *_: None)
    return directory


@pytest.fixture(scope="module")
def address(registry: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "recsys.cli", "serve", str(registry), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        events = (json.loads(line) for line in server.stderr if line.startswith("{"))
        yield next(event["address"] for event in events if event["event"] == "serving")
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
        assert server.returncode == 0


def test_the_simulated_shop_is_a_valid_dataset(shop: Path) -> None:
    assert validate(shop) == []


def test_the_published_bundle_verifies_in_a_child_process(registry: Path) -> None:
    verdict = verify(resolve(registry))

    assert verdict.ok, verdict.checks
    assert [version.current for version in Registry(registry).versions()] == [True]


def test_the_service_ranks_better_than_popularity_against_the_truth(shop: Path, address: str) -> None:
    dataset = read_dataset(shop)
    asked = newest_lists(dataset.impressions)[1].head(LISTS_ASKED)
    truth = attraction(shop, asked)

    served = np.concatenate([served_scores(address, row) for row in asked.iter_rows(named=True)])

    assert agreement(served, truth) > agreement(popular(dataset, asked), truth) + 0.05


def test_an_item_that_nobody_knows_is_placed_by_its_words(shop: Path, address: str) -> None:
    from recsys.schema import Candidate, ItemText

    dataset = read_dataset(shop)
    known = dataset.items.row(0, named=True)
    new = Candidate(item_id="new-here", text=ItemText(title=known["title"], description=known["description"]))
    with RankingClient(address, deadline_s=10.0) as client:
        ranking = client.rank("nobody", [known["item_id"], new])

    assert ranking.unknown_items == ("new-here",)
    assert ranking.text_coverage == 1.0
    assert ranking.unknown_user


def attraction(shop: Path, asked: pl.DataFrame) -> npt.NDArray[np.float64]:
    told = pl.read_parquet(shop / "truth.parquet")
    return (
        asked.select("request_id").join(told, on="request_id", maintain_order="left")["attraction"].explode().to_numpy()
    )


def served_scores(address: str, row: dict[str, object]) -> npt.NDArray[np.float64]:
    ids, ts = row["item_ids"], row["ts"]
    with RankingClient(address, deadline_s=10.0) as client:
        ranking = client.rank(str(row["user_id"]), ids, ts=round(ts.timestamp() * 1e6))
    score = {item.item_id: item.score for item in ranking.items}
    return np.array([score[item_id] for item_id in ids])


def popular(dataset: Dataset, asked: pl.DataFrame) -> npt.NDArray[np.float64]:
    return popularity(dataset.impressions, asked)


def agreement(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> float:
    """Average the rank correlation with the true attraction over lists of twelve."""
    pairs = zip(scores.reshape(-1, 12), truth.reshape(-1, 12), strict=True)
    return float(np.mean([np.corrcoef(np.argsort(np.argsort(s)), np.argsort(np.argsort(t)))[0, 1] for s, t in pairs]))
