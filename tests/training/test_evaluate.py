"""Evaluation from end to end, on a small log and a scorer whose worth is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from rich.console import Console

from recsys.catalog import Catalog
from recsys.dataset import Dataset
from recsys.errors import DatasetError
from recsys.features import Context
from recsys.schema import Rung
from training.evaluate import evaluate
from training.evaluation import Evaluation

START = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = 30
METHODS = {"full", "text_only", "behaviour_only", "popularity", "shown_order", "random"}
METRICS = {"auc", "mrr", "ndcg@5", "ndcg@10", "hit@1"}


def shop(lists: int = 150, seed: int = 0, *, minutes: int = 1) -> Dataset:
    """Item n is clicked with probability n / 40, more readily at the top; 12 users, a list every few minutes."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(lists):
        items = rng.choice(ITEMS, 8, replace=False)
        chance = items / 40 * np.linspace(1.2, 0.8, 8)
        rows.append(
            {
                "request_id": f"r{number:04}",
                "user_id": f"u{rng.integers(12)}",
                "ts": START + timedelta(minutes=minutes * number),
                "item_ids": [f"i{item}" for item in items],
                "clicked": (rng.random(8) < chance).tolist(),
            }
        )
    impressions = pl.DataFrame(rows).with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        query=pl.lit(""),
        history=pl.lit(None, dtype=pl.List(pl.String)),
        surface=pl.lit(""),
        weight=pl.lit(1.0),
        split=pl.lit(None, dtype=pl.String),
    )
    items = pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(ITEMS)],
            "title": [f"Thing {item}" for item in range(ITEMS)],
            "description": [""] * ITEMS,
            "category": ["things"] * ITEMS,
            "tags": pl.Series([[]] * ITEMS, dtype=pl.List(pl.String)),
            "published_at": pl.Series([None] * ITEMS, dtype=pl.Datetime("us", "UTC")),
        }
    )
    no_events = {"event_id": [], "user_id": [], "item_id": [], "type": []}
    events = pl.DataFrame(no_events, schema=dict.fromkeys(no_events, pl.String)).with_columns(
        ts=pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    )
    return Dataset(items=items, impressions=impressions, events=events)


class KnowsTheShop:
    """Scores by the items' true click rates; behaviour_only gives all the same, text_only has no text at all."""

    bundle_id = "b-1"

    def __init__(self, items: pl.DataFrame) -> None:
        self.catalog = Catalog(items)
        self.asked: list[Context] = []

    def score_lists(self, seen: Context) -> Mapping[str, npt.NDArray[np.float64]]:
        lists = seen.lists
        self.asked.append(seen)
        truth = lists.item_rows.astype(np.float64)
        return {
            "full": truth,
            "text_only": np.full(len(truth), np.nan),
            "behaviour_only": np.zeros(len(truth)),
            "probability": np.clip(truth, 0, None) / 40,
        }

    def score_rungs(self, seen: Context) -> Mapping[Rung, npt.NDArray[np.float64]]:
        truth = seen.lists.item_rows.astype(np.float64)
        steps = (1, 1, 2, 8, 100)  # the lower the rung, the less is told apart
        return {rung: truth // step for rung, step in zip(Rung, steps, strict=True)}


class LeansOnCounters(KnowsTheShop):
    """Ranks by the truth while counters are there, and upside down without; its text knows half as much."""

    def score_lists(self, seen: Context) -> Mapping[str, npt.NDArray[np.float64]]:
        scores = dict(super().score_lists(seen))
        truth = scores["full"]
        return {
            **scores,
            "full": np.where(np.isnan(seen.seen.item[:, -1, 0]), -truth, truth),
            "text_only": truth // (ITEMS // 2),
        }


def rows_asked(pipeline: KnowsTheShop) -> npt.NDArray[np.int32]:
    """Return the catalog rows of all test lists, as they were first asked for."""
    return np.concatenate([seen.rows for seen in pipeline.asked])[: 30 * 8]


@pytest.fixture(scope="module")
def found() -> Evaluation:
    dataset = shop()
    return evaluate(KnowsTheShop(dataset.items), dataset, draws=200)


def test_the_json_form_is_the_one_that_scripts_depend_on(found: Evaluation) -> None:
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))

    assert written["lists"] == found.lists
    assert written["bundle_id"] == "b-1"
    assert set(written["methods"]) == METHODS
    for figures in [*written["methods"].values(), *written["differences"].values()]:
        assert set(figures) == METRICS
        assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in figures.values())
    assert set(written["slices"]["length_1_10"]["methods"]) == METHODS
    assert written["slices"]["length_31_up"] == {
        "says": "lists of more than 30 items",
        "lists": 0,
        "users": 0,
        "methods": {},
    }
    assert written["unknown_items"] == 0


def test_knowing_the_truth_beats_every_baseline_and_knowing_nothing_is_chance(found: Evaluation) -> None:
    auc = {method: figures["auc"].value for method, figures in found.methods.items()}

    assert found.best_first()[0] == "full"
    assert auc["full"] > 0.7
    assert auc["text_only"] == auc["behaviour_only"] == 0.5
    assert found.tie_rates["behaviour_only"] == 1.0
    assert found.differences["full - behaviour_only"]["auc"].low > 0.1
    assert found.differences["full - behaviour_only"]["auc"].value == pytest.approx(auc["full"] - 0.5)
    assert found.calibration.log_loss < found.calibration.base_log_loss


def test_only_test_lists_are_scored_and_the_split_is_said(found: Evaluation) -> None:
    dataset = shop()
    pipeline = KnowsTheShop(dataset.items)
    evaluate(pipeline, dataset, draws=10)
    test = dataset.impressions[120:]

    assert np.concatenate([seen.lists.ts for seen in pipeline.asked]).tolist() == (
        test["ts"].dt.epoch("us").to_list() * 3
    )
    assert (found.dataset.training_lists, found.dataset.test_lists) == (120, 30)
    assert found.dataset.split == "the newest 20% of the lists"
    assert found.dataset.first == "2026-01-01T02:00:00+00:00"


def test_lists_without_a_click_count_for_calibration_but_not_for_order() -> None:
    dataset = shop()
    silent = pl.Series(
        [[False] * 8 if n % 2 else row for n, row in enumerate(dataset.impressions["clicked"].to_list())]
    )
    dataset = Dataset(
        items=dataset.items, impressions=dataset.impressions.with_columns(clicked=silent), events=dataset.events
    )
    found = evaluate(KnowsTheShop(dataset.items), dataset, draws=10)

    assert found.lists <= 15
    assert found.calibration.count == 30 * 8


def test_scoring_in_small_parts_gives_the_same_figures_and_tells_progress(
    found: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("recsys.features.replay"), "SLICE", 7)
    dataset = shop()
    told: list[tuple[int, int]] = []
    again = evaluate(KnowsTheShop(dataset.items), dataset, draws=200, progress=lambda done, of: told.append((done, of)))

    assert again.to_json() == found.to_json()
    assert told[-1] == (120, 120)
    assert told == sorted(set(told))
    assert len(told) > 12


def test_another_seed_moves_chance_and_intervals_but_not_the_values(found: Evaluation) -> None:
    dataset = shop()
    other = evaluate(KnowsTheShop(dataset.items), dataset, draws=200, seed=1)

    assert other.methods["full"]["auc"].value == found.methods["full"]["auc"].value
    assert other.methods["full"]["auc"].low != found.methods["full"]["auc"].low
    assert other.methods["random"] != found.methods["random"]


def test_items_that_the_bundle_does_not_know_stay_in_the_lists_and_are_counted() -> None:
    dataset = shop()
    pipeline = KnowsTheShop(dataset.items[: ITEMS - 3])
    found = evaluate(pipeline, dataset, draws=10)

    assert found.dataset.unknown_items == 3
    rows = rows_asked(pipeline)
    assert (rows == -1).any()
    assert len(rows) == 30 * 8


def test_a_cross_encoder_is_one_more_method_with_its_difference() -> None:
    dataset = shop()
    pipeline = KnowsTheShop(dataset.items)
    evaluate(pipeline, dataset, draws=10)
    found = evaluate(pipeline, dataset, cross_encoder=-rows_asked(pipeline).astype(float), draws=50)

    assert found.best_first()[-1] == "cross_encoder"
    assert found.differences["text_only - cross_encoder"]["auc"].value > 0
    assert set(found.slices["length_1_10"].methods) == METHODS | {"cross_encoder"}


def test_lists_without_a_user_each_count_as_a_user() -> None:
    dataset = shop()
    anonymous = dataset.impressions.with_columns(user_id=pl.lit(""))
    found = evaluate(
        KnowsTheShop(dataset.items),
        Dataset(items=dataset.items, impressions=anonymous, events=dataset.events),
        draws=50,
    )

    assert found.users == found.lists


def test_test_lists_that_say_nothing_about_order_are_refused_before_anything_is_scored() -> None:
    dataset = shop()
    marked = dataset.impressions.with_columns(split=pl.lit("train"))
    pipeline = KnowsTheShop(dataset.items)

    with pytest.raises(DatasetError, match="none of the 0 test lists holds both a click and a non-click"):
        evaluate(pipeline, Dataset(items=dataset.items, impressions=marked, events=dataset.events))
    assert pipeline.asked == []


def test_the_stale_counter_test_asks_for_what_was_known_a_day_before_and_for_nothing() -> None:
    dataset = shop(minutes=60)
    pipeline = KnowsTheShop(dataset.items)
    evaluate(pipeline, dataset, draws=10)
    hours = (np.concatenate([seen.seen.age for seen in pipeline.asked]) / 3_600_000_000).reshape(3, 30)

    assert hours[0].tolist() == [1.0] * 30
    assert hours[1].tolist() == [25.0] * 30
    assert np.isnan(hours[2]).all()


def test_a_stack_that_stands_on_counters_alone_passes_while_they_are_stale_and_fails_without() -> None:
    dataset = shop(minutes=60)
    found = evaluate(LeansOnCounters(dataset.items), dataset, draws=50)
    frozen, gone = found.stale["frozen_24h"], found.stale["gone"]
    written = found.to_json()["stale"]

    assert frozen.passed
    assert frozen.methods["full"] == found.methods["full"]
    assert not gone.passed
    assert not found.stale_passed
    assert gone.methods["full"]["auc"].value == pytest.approx(1 - found.methods["full"]["auc"].value)
    assert gone.difference["auc"].value == pytest.approx(
        gone.methods["full"]["auc"].value - gone.methods["text_only"]["auc"].value
    )
    assert set(written) == {"frozen_24h", "gone", "passed"}
    assert written["passed"] is False
    assert set(written["gone"]) == {"full", "text_only", "difference"}
    assert all(set(written["gone"][name]) == METRICS for name in written["gone"])


def test_every_rung_of_service_is_measured_and_what_a_step_down_costs(found: Evaluation) -> None:
    rungs = json.loads(json.dumps(found.to_json(), allow_nan=False))["rungs"]
    auc = [figures["auc"]["value"] for figures in rungs.values()]

    assert list(rungs) == ["full", "best_text", "cached_text", "behaviour", "popularity"]
    assert all(set(figures) == METRICS | {"says", "above_full"} for figures in rungs.values())
    assert auc[0] == auc[1] == found.methods["full"]["auc"].value
    assert auc == sorted(auc, reverse=True)
    assert auc[-1] == 0.5
    assert rungs["full"]["above_full"]["auc"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert rungs["popularity"]["above_full"]["ndcg@10"]["high"] < 0


def test_without_lists_that_know_better_the_stale_counter_test_passes(found: Evaluation) -> None:
    assert found.stale_passed
    assert found.to_json()["stale"]["passed"] is True


def test_the_tables_fit_a_terminal_of_80_columns_and_name_every_method(found: Evaluation) -> None:
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(*found.tables())
    text = capture.get()

    assert "…" not in text
    for words in (
        "Stale-counter test: passed",
        "Rungs of service",
        "full stack",
        "behaviour only",
        "popularity",
        "shown order",
        "random",
        "new users",
        "ndcg@10",
    ):
        assert words in text
    assert text.index("full stack") < text.index("random")
