"""A shop of six items and three users, whose log can be counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.catalog import Catalog
from recsys.features import FeatureSet, FeatureState, Histories, features_and_histories
from recsys.lists import GivenHistory, Lists

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = 3_600_000_000

ITEMS = {
    "item_id": ["tea", "mug", "pot", "saw", "axe", "new"],
    "title": ["Tea", "Mug", "Pot", "Saw", "Axe", "New"],
    "description": [""] * 6,
    "category": ["kitchen", "kitchen", "kitchen", "tools", "tools", ""],
    "tags": [["hot", "gift"], ["gift"], ["hot"], ["sharp"], ["sharp", "gift"], []],
    "published_at": [START - timedelta(hours=24)] * 5 + [None],
    "price": [2.0, 5.0, 20.0, 30.0, 40.0, None],
    "vegan": [True, None, None, False, False, None],
    "brand": ["leaf", "clay", "clay", "iron", "iron", "solo"],
}
# user, hours after START, what was shown, what was clicked
LOG = [
    ("ann", 0, ["tea", "mug", "saw"], ["tea"]),
    ("bob", 1, ["saw", "axe", "tea"], ["saw", "axe"]),
    ("ann", 2, ["pot", "axe", "mug"], ["pot", "mug"]),
    ("cat", 30, ["tea", "saw"], []),
    ("ann", 200, ["tea", "pot", "saw", "axe"], ["tea"]),
]


def impressions(log: Sequence[tuple[str, float, list[str], list[str]]]) -> pl.DataFrame:
    """Make a canonical impressions table of (user, hours after START, shown, clicked)."""
    return pl.DataFrame(
        {
            "request_id": [f"r{place}" for place in range(len(log))],
            "user_id": [user for user, *_ in log],
            "ts": [START + timedelta(hours=hours) for _, hours, *_ in log],
            "item_ids": [shown for *_, shown, _ in log],
            "clicked": [[item in clicked for item in shown] for *_, shown, clicked in log],
            "query": [""] * len(log),
            "history": [None] * len(log),
            "surface": [""] * len(log),
            "weight": [1.0] * len(log),
        },
        schema_overrides={
            "request_id": pl.String,
            "user_id": pl.String,
            "ts": pl.Datetime("us", "UTC"),
            "item_ids": pl.List(pl.String),
            "clicked": pl.List(pl.Boolean),
            "query": pl.String,
            "surface": pl.String,
            "history": pl.List(pl.String),
        },
    )


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog(pl.DataFrame(ITEMS, schema_overrides={"published_at": pl.Datetime("us", "UTC")}))


@pytest.fixture(scope="session")
def table() -> Callable[..., pl.DataFrame]:
    return impressions


@pytest.fixture(scope="session")
def log() -> list[tuple[str, float, list[str], list[str]]]:
    return LOG


class AsOf:
    """Answers lists as of their own moments, by replaying a log; otherwise like the state that knows all of it."""

    def __init__(self, catalog: Catalog, log: pl.DataFrame, events: pl.DataFrame | None = None) -> None:
        self.names = FeatureSet(catalog).names
        self.knows = FeatureState.build(catalog, log, events).knows
        self._log = (catalog, log, events)

    def features(self, lists: Lists) -> np.ndarray:
        return self._replayed(lists, 48, skips=False)[0]

    def histories(self, lists: Lists, length: int, *, skips: bool) -> Histories:
        return self._replayed(lists, length, skips=skips)[1]

    def _replayed(self, lists: Lists, length: int, *, skips: bool) -> tuple[np.ndarray, Histories]:
        catalog, log, events = self._log
        return features_and_histories(FeatureState(catalog), log, events, lists, length, skips=skips)


@pytest.fixture(scope="session")
def as_of() -> type[AsOf]:
    return AsOf


@pytest.fixture(scope="session")
def state(catalog: Catalog) -> AsOf:
    return AsOf(catalog, impressions(LOG))


@pytest.fixture
def learned(catalog: Catalog) -> FeatureState:
    """A state that has learned the whole log."""
    return FeatureState.build(catalog, impressions(LOG))


@pytest.fixture(scope="session")
def ask(catalog: Catalog) -> Callable[..., Lists]:
    """Return a maker of lists of one user's candidates at some hour after START, one list per call."""

    def make(user: str, hours: float, items: Sequence[str], history: GivenHistory | None = None) -> Lists:
        ts = int((START + timedelta(hours=hours)).timestamp() * 1_000_000)
        return Lists(
            user_ids=[user],
            ts=np.array([ts]),
            item_rows=catalog.rows(items),
            offsets=np.array([0, len(items)]),
            histories=[history],
            queries=[""],
            surfaces=[""],
        )

    return make
