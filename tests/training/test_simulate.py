"""The simulated shop: sound tables, a truth that clicks follow, and the same bytes for the same seed."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from recsys.dataset import read_dataset, validate
from recsys.errors import ConfigError, DatasetError
from training import simulate as simulation
from training.simulate import SimulationConfig, simulate

SMALL = SimulationConfig(items=200, users=80, lists=600, days=6)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop of the default size."""
    out = tmp_path_factory.mktemp("simulated") / "shop"
    simulate(SimulationConfig(), out)
    return out


@pytest.fixture(scope="module")
def log(shop: Path) -> pl.DataFrame:
    impressions = read_dataset(shop).impressions
    return impressions.join(pl.read_parquet(shop / "truth.parquet"), on="request_id", maintain_order="left")


def matrix(log: pl.DataFrame, column: str) -> npt.NDArray[np.float64]:
    return np.array(log[column].to_list(), dtype=np.float64)


def mean_auc(scores: npt.NDArray[np.float64], clicked: npt.NDArray[np.float64]) -> float:
    values = []
    for score, click in zip(scores, clicked > 0, strict=True):
        if click.any() and not click.all():
            difference = score[click][:, None] - score[~click]
            values.append(np.mean((difference > 0) + 0.5 * (difference == 0)))
    return float(np.mean(values))


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_the_tables_are_sound_and_of_the_size_asked_for(shop: Path) -> None:
    assert sorted(path.name for path in shop.iterdir()) == [
        *("impressions.parquet", "items.parquet", "simulation.json", "truth.parquet")
    ]
    assert validate(shop) == []
    dataset = read_dataset(shop)

    assert dataset.items.height == 2_000
    assert dataset.impressions.height == 10_000
    assert dataset.impressions["item_ids"].list.len().unique().to_list() == [20]
    assert dataset.impressions["split"].null_count() == 10_000
    assert dataset.impressions["ts"].is_sorted()
    assert dataset.impressions["request_id"].is_sorted()


def test_the_truth_ranks_well_and_popularity_ranks_a_little(log: pl.DataFrame) -> None:
    """Tastes matter most: what a model of texts and clicks can gain lies between the two figures."""
    known = int(0.8 * log.height)
    ids = log["item_ids"].explode().cast(pl.Categorical).to_physical().to_numpy().reshape(log.height, -1)
    clicked = matrix(log, "clicked")
    clicks = np.bincount(ids[:known].ravel(), clicked[:known].ravel(), ids.max() + 1)
    shown = np.bincount(ids[:known].ravel(), minlength=ids.max() + 1)
    popularity = (clicks + 2.0) / (shown + 20.0)
    truth_auc = mean_auc(matrix(log, "attraction")[known:], clicked[known:])
    popularity_auc = mean_auc(popularity[ids][known:], clicked[known:])
    print(f"AUC on the newest 20 %: truth {truth_auc:.3f}, popularity {popularity_auc:.3f}")  # noqa: T201

    assert 0.75 <= truth_auc <= 0.82
    assert 0.57 <= popularity_auc <= 0.65


def test_clicks_follow_the_click_probability(log: pl.DataFrame) -> None:
    probability, clicked = matrix(log, "click_probability").ravel(), matrix(log, "clicked").ravel()
    order = np.argsort(probability)

    for part in np.array_split(order, 10):
        error = np.sqrt(np.sum(probability[part] * (1 - probability[part]))) / len(part)
        assert abs(clicked[part].mean() - probability[part].mean()) < 4 * error


def test_attraction_is_the_click_probability_without_the_place(log: pl.DataFrame) -> None:
    config = SimulationConfig()
    noise = config.noise * config.noise_click_rate
    effect = np.arange(1, 21) ** -config.position_bias

    np.testing.assert_allclose(
        matrix(log, "click_probability") - noise, (matrix(log, "attraction") - noise) * effect, rtol=1e-9
    )


def test_items_are_shown_only_once_published_and_new_ones_and_new_users_keep_coming(shop: Path) -> None:
    dataset = read_dataset(shop)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    published = dict(dataset.items.select("item_id", "published_at").iter_rows())
    shown = dataset.impressions.select("ts", item="item_ids").explode("item")
    age = shown["ts"] - shown["item"].replace_strict(published, return_dtype=pl.Datetime("us", "UTC"))
    first_seen = dataset.impressions.group_by("user_id").agg(pl.col("ts").min())["ts"]

    assert age.min() >= timedelta(0)
    assert sum(time > start for time in published.values()) == 600
    assert shown.filter(age < timedelta(days=2)).height > 1_000
    assert first_seen.filter(first_seen > start + timedelta(days=21)).len() > 30


def test_titles_read_like_a_shop_and_speak_of_style_and_quality(shop: Path) -> None:
    items = read_dataset(shop).items

    assert items["title"].n_unique() > 1_900
    assert items["category"].n_unique() == 12
    assert items["title"].str.contains("Award-Winning|Masterpiece").sum() > 20
    assert items["description"].str.contains("award|Handmade by masters|Flawless").sum() > 100
    assert items["description"].str.split(" ").list.len().min() >= 10
    assert items["price"].min() > 0


def test_the_words_of_quality_tell_what_gets_clicked(shop: Path) -> None:
    dataset = read_dataset(shop)
    rows = dataset.impressions.explode("item_ids", "clicked").join(
        dataset.items, left_on="item_ids", right_on="item_id"
    )
    rates = [
        rows.filter(pl.col("description").str.contains(words))["clicked"].mean()
        for words in ("without guarantee|stopgap|Returned stock", "one-year guarantee", "guaranteed for life|Flawless")
    ]

    assert rates[0] * 1.5 < rates[1] < rates[2] / 1.5


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(SimulationConfig(items=200, users=80, lists=600, days=6, seed=seed), tmp_path / name)

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "c").values())


def test_a_log_of_many_chunks_is_whole_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "CHUNK_ITEMS", 200)
    seen: list[tuple[int, int]] = []
    simulate(SMALL, tmp_path / "shop", progress=lambda done, total: seen.append((done, total)))
    lists = pl.read_parquet(tmp_path / "shop" / "impressions.parquet")

    assert len(seen) == 60
    assert seen[-1] == (600, 600)
    assert lists["request_id"].to_list() == [f"list-{number:03d}" for number in range(600)]
    assert lists["request_id"].to_list() == pl.read_parquet(tmp_path / "shop" / "truth.parquet")["request_id"].to_list()
    assert lists["ts"].is_sorted()


def test_lists_are_filled_even_where_the_shop_holds_hardly_more_items_than_a_list(tmp_path: Path) -> None:
    simulate(SimulationConfig(items=20, users=5, lists=50, new_items=0.0, days=1), tmp_path / "shop")

    assert validate(tmp_path / "shop") == []
    assert pl.read_parquet(tmp_path / "shop" / "impressions.parquet")[
        "item_ids"
    ].list.n_unique().unique().to_list() == [20]


def test_the_config_is_written_beside_the_tables(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "shop")
    written = json.loads((tmp_path / "shop" / "simulation.json").read_text())

    assert SimulationConfig(**{**written, "start": datetime.fromisoformat(written["start"])}) == SMALL


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()

    with pytest.raises(DatasetError, match="exists already"):
        simulate(SMALL, tmp_path / "shop")


def test_an_interrupted_simulation_leaves_nothing(tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, tmp_path / "shop", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lists": 0}, "lists is 0; give at least 1"),
        ({"topics": 13}, "topics is 13; the vocabulary holds 1 to 12"),
        ({"list_length": 1_001}, "no request may hold more than 1000"),
        ({"items": 20}, "14 items on the first day do not fill a list of 20"),
        ({"noise": 1.5}, "noise is 1.5; give a share between 0 and 1"),
        ({"drift_days": 0.0}, "drift_days is 0.0; give a number of days above 0"),
        ({"position_bias": -0.1}, "position_bias is -0.1; give 0 for none, or more"),
        ({"start": datetime(2025, 1, 1)}, "start is not in UTC"),  # noqa: DTZ001
    ],
)
def test_impossible_shops_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulationConfig(**settings)  # type: ignore[arg-type]
