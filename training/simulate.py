"""Simulates a shop's click log with known truth, and streams it to Parquet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.dataset import refuse_existing
from recsys.files import whole_directory
from training.simulator.click_truth import attraction, next_fashion, position_effect, with_noise
from training.simulator.config import SimulationConfig
from training.simulator.crowd import Crowd, make_crowd
from training.simulator.goods import Goods, make_goods
from training.simulator.window import Window

__all__ = ["SimulationConfig", "simulate"]

CHUNK_ITEMS = 100_000
"""Shown items held in memory at a time."""

_DAY_US = 86_400_000_000
_ROW_GROUP = 20_000


def simulate(config: SimulationConfig, out: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write a simulated dataset: items, impressions, the truth of every shown item, and the config.

    Besides the tables of a dataset, ``truth.parquet`` holds for every list, in shown order, the ``click_probability``
    that its clicks were drawn with, and the ``attraction``: the same without the effect of the place. ``split`` stays
    open, so that the newest lists are the test. Memory does not grow with the number of lists.

    Args:
        config: what the shop looks like.
        out: the new dataset's directory.
        progress: called with the lists done and the lists in all.

    Raises:
        DatasetError: ``out`` exists already.
    """
    refuse_existing(out)
    rng = np.random.default_rng(config.seed)
    goods = make_goods(config, rng)
    crowd = make_crowd(config, rng)
    with whole_directory(out) as directory:
        goods.table.write_parquet(directory / "items.parquet")
        settings = {**asdict(config), "start": config.start.isoformat()}
        (directory / "simulation.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        parts = directory / "parts"
        (parts / "impressions").mkdir(parents=True)
        (parts / "truth").mkdir()
        done = 0
        for number, (impressions, truth) in enumerate(_chunks(config, goods, crowd, rng)):
            impressions.write_parquet(parts / "impressions" / f"{number:06d}.parquet")
            truth.write_parquet(parts / "truth" / f"{number:06d}.parquet")
            done += impressions.height
            if progress is not None:
                progress(done, config.lists)
        for table in ("impressions", "truth"):
            whole = pl.scan_parquet(parts / table / "*.parquet")
            whole.sink_parquet(directory / f"{table}.parquet", row_group_size=_ROW_GROUP, maintain_order=True)
        shutil.rmtree(parts)


def _chunks(
    config: SimulationConfig, goods: Goods, crowd: Crowd, rng: np.random.Generator
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield impressions and their truth in order of time."""
    fashion = rng.standard_normal(config.items)
    ends = np.linspace(0, config.lists, config.days + 1).round().astype(np.int64)
    size = max(1, CHUNK_ITEMS // config.list_length)
    for day in range(config.days):
        window = Window(config, goods, crowd, fashion=fashion, day=day)
        moments = day + np.sort(rng.random(ends[day + 1] - ends[day]))
        for begin in range(0, len(moments), size):
            chunk = moments[begin : begin + size]
            users = _visitors(crowd, chunk, rng)
            items = window.choose(users, rng)
            drawn = attraction(config, goods, crowd, users=users, items=items, fashion=fashion, moments=chunk)
            probability = with_noise(config, drawn * position_effect(config))
            clicked = rng.random(items.shape) < probability
            first = int(ends[day]) + begin
            names = _names(config, first, len(chunk))
            impressions = pl.DataFrame(
                {
                    "request_id": names,
                    "user_id": pl.Series(crowd.ids).gather(users),
                    "ts": _times(config, chunk),
                    "item_ids": _lists(goods.table["item_id"].gather(items.ravel()), items.shape),
                    "clicked": _lists(pl.Series(clicked.ravel()), items.shape),
                    "surface": ["home"] * len(chunk),
                }
            )
            truth = pl.DataFrame(
                {
                    "request_id": names,
                    "click_probability": _lists(pl.Series(probability.ravel()), items.shape),
                    "attraction": _lists(pl.Series(with_noise(config, drawn).ravel()), items.shape),
                }
            )
            yield impressions, truth
        fashion = next_fashion(config, fashion, rng)


def _visitors(crowd: Crowd, moments: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw who comes at each moment, by activity, among those who have arrived."""
    reach = np.cumsum(crowd.activity)
    arrived = reach[np.searchsorted(crowd.arrival, moments, side="right") - 1]
    return np.minimum(np.searchsorted(reach, rng.random(len(moments)) * arrived, side="right"), len(reach) - 1)


def _names(config: SimulationConfig, first: int, count: int) -> list[str]:
    width = len(str(config.lists - 1))
    return [f"list-{number:0{width}d}" for number in range(first, first + count)]


def _times(config: SimulationConfig, moments: npt.NDArray[np.float64]) -> pl.Series:
    start = int(config.start.timestamp() * 1_000_000)
    return pl.Series(start + (moments * _DAY_US).astype(np.int64)).cast(pl.Datetime("us", "UTC"))


def _lists(values: pl.Series, shape: tuple[int, ...]) -> pl.Series:
    return values.reshape(shape).arr.to_list()
