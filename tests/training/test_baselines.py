"""Popularity knows the past alone; shown order and chance know nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from training.baselines import PRIOR_VIEWS, chance, popularity, shown_order

START = datetime(2026, 1, 1, tzinfo=UTC)


def shown(*lists: tuple[int, list[str], list[bool]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts": pl.Series([START + timedelta(minutes=m) for m, _, _ in lists], dtype=pl.Datetime("us", "UTC")),
            "item_ids": pl.Series([items for _, items, _ in lists], dtype=pl.List(pl.String)),
            "clicked": pl.Series([clicks for _, _, clicks in lists], dtype=pl.List(pl.Boolean)),
        }
    )


def smoothed(clicks: int, views: int, average: float) -> float:
    return (clicks + PRIOR_VIEWS * average) / (views + PRIOR_VIEWS)


def test_popularity_counts_what_came_strictly_before_and_neither_the_list_itself_nor_its_moment() -> None:
    log = shown(
        (0, ["a", "b"], [True, False]),
        (1, ["a", "b"], [True, False]),
        (1, ["b", "a"], [True, False]),
        (2, ["b", "c", "a"], [False, False, True]),
    )
    expected = [
        *[0.0, 0.0],
        *[smoothed(1, 1, 1 / 2), smoothed(0, 1, 1 / 2)],
        *[smoothed(0, 1, 1 / 2), smoothed(1, 1, 1 / 2)],
        *[smoothed(1, 3, 3 / 6), 3 / 6, smoothed(2, 3, 3 / 6)],
    ]

    assert popularity(log, log).tolist() == pytest.approx(expected)


def test_popularity_agrees_with_counting_list_by_list() -> None:
    rng = np.random.default_rng(5)
    log = shown(
        *(
            (int(minute), [f"i{n}" for n in rng.choice(6, 3, replace=False)], (rng.random(3) < 0.4).tolist())
            for minute in np.sort(rng.integers(0, 20, 60))
        )
    )
    lists = log[30:]

    expected = []
    rows = list(log.iter_rows(named=True))
    for asked in lists.iter_rows(named=True):
        past = [
            pair
            for row in rows
            if row["ts"] < asked["ts"]
            for pair in zip(row["item_ids"], row["clicked"], strict=True)
        ]
        average = sum(click for _, click in past) / max(1, len(past))
        for item in asked["item_ids"]:
            clicks = [click for shown_item, click in past if shown_item == item]
            expected.append(smoothed(sum(clicks), len(clicks), average))

    assert popularity(log, lists).tolist() == pytest.approx(expected)


def test_shown_order_puts_the_first_shown_first_in_every_list() -> None:
    lists = shown((0, ["a", "b", "c"], [False] * 3), (1, [], []), (2, ["c", "a"], [False] * 2))

    assert shown_order(lists).tolist() == [0.0, -1.0, -2.0, 0.0, -1.0]


def test_chance_is_the_same_for_the_same_seed_alone() -> None:
    lists = shown((0, ["a", "b"], [False] * 2), (2, ["c"], [False]))

    assert chance(lists, seed=1).tolist() == chance(lists, seed=1).tolist()
    assert chance(lists, seed=1).tolist() != chance(lists, seed=2).tolist()
    assert len(chance(lists, seed=1)) == 3
