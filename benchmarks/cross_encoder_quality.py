"""The click predictor of a bundle against our own cross-encoder: same backbone, same log, same test lists.

The cross-encoder, BERT over history and candidate together, is what one would use if time were free. It is trained here
on the dataset's training lists (``--train-lists`` of them); then both order the same ``--lists`` test lists. Without a
dataset a small shop is simulated and a bundle trained on it first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from figures import Figure, arguments, console, tell
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recsys.dataset import Dataset, read_dataset
from recsys.features import FeatureState, replay
from recsys.lists import Lists
from recsys.metrics import METRICS, list_metrics
from recsys.pipeline import RankingPipeline
from recsys.registry import resolve
from training.bootstrap import intervals
from training.compute import click_predictor_flops
from training.config import load_config
from training.cross_encoder import CrossEncoder, CrossEncoderConfig, train_cross_encoder
from training.simulate import simulate
from training.simulator.config import SimulationConfig
from training.text_lists import Rows
from training.text_log import TextLog, drawn
from training.train import train

CANDIDATES = 100
DRAWS = 1_000
SMALL = [
    "slices=[0.5]",
    "warm_epochs=2",
    "finetune.epochs=1",
    "ranker.trees=50",
    "text.tokens.description_tokens=16",
]


def main() -> None:
    """Train, measure and tell."""
    parser = arguments("Quality and cost of the click predictor against a cross-encoder.")
    parser.add_argument("--dataset", type=Path, help="what both were trained on")
    parser.add_argument("--bundle", type=Path, help="a bundle of it, or a registry")
    parser.add_argument("--train-lists", type=int, default=4_500, help="lists that the cross-encoder learns from")
    parser.add_argument("--lists", type=int, default=600, help="test lists to judge on")
    parser.add_argument("--epochs", type=int, default=2, help="passes of the cross-encoder over its lists")
    parser.add_argument("--work", type=Path, help="keep checkpoints here, so that a stopped run goes on")
    options = parser.parse_args()
    if (options.dataset is None) != (options.bundle is None):
        parser.error("give --dataset and --bundle together, or neither")
    if options.quick:
        options.train_lists, options.lists, options.epochs = 40, 30, 1
    with tempfile.TemporaryDirectory() as folder:
        dataset, bundle = options.dataset, options.bundle
        if dataset is None:
            with console.status("making a small shop and a bundle of it ..."):
                dataset, bundle = small_shop(Path(folder))
        compare(options, dataset, bundle, options.work or Path(folder) / "cross-encoder")


def small_shop(folder: Path) -> tuple[Path, Path]:
    """Simulate a shop and train a bundle on it; returns the dataset's directory and the registry."""
    shop = SimulationConfig(items=100, users=50, lists=500, list_length=10, days=7)
    simulate(shop, folder / "dataset")
    train(read_dataset(folder / "dataset"), folder / "registry", load_config(None, SMALL), lambda *_: None)
    return folder / "dataset", folder / "registry"


def compare(options: argparse.Namespace, dataset: Path, bundle: Path, work: Path) -> None:
    """Train the cross-encoder, let both order the same lists, and tell what each found and cost."""
    pipeline = RankingPipeline.load(resolve(bundle))
    settings = pipeline.manifest.text
    read = read_dataset(dataset)
    log = TextLog.of(read, pipeline.catalog, history=settings.history_length, skips=settings.skips)
    judged = drawn(log.with_both_classes(log.test), options.lists, seed=0)
    learned = drawn(log.with_both_classes(log.training), options.train_lists, seed=0)
    config = CrossEncoderConfig(epochs=options.epochs, tokens=settings.tokenizer)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"training on {len(learned):,} lists", total=1.0)
        model = train_cross_encoder(
            log.texts,
            log.lists,
            training=learned,
            validation=judged[:0],
            config=config,
            output=work,
            progress=lambda share, _: progress.update(task, completed=share),
        )
        task = progress.add_task(f"scoring {len(judged):,} test lists", total=len(judged))
        cross = model.score(log.lists, judged, lambda done: progress.update(task, completed=done))
    lists = Lists.from_impressions(read.impressions[judged], pipeline.catalog)
    text = text_alone(pipeline, read, lists)
    figures = quality(log, judged, {"text_only": text, "cross_encoder": cross}) | cost(model, pipeline, log, judged)
    told = (
        f"cross_encoder_quality: {len(learned):,} training lists, {options.epochs} epochs, {len(judged):,} test lists"
    )
    tell(told, figures, options.json)


def text_alone(pipeline: RankingPipeline, dataset: Dataset, lists: Lists) -> np.ndarray:
    """Score lists by the text model, each with the history that its user had at its moment."""
    scores = np.empty(lists.item_rows.size)
    for answered in replay(FeatureState(pipeline.catalog), dataset.impressions, dataset.events, lists):
        if answered.numbers.size:
            scores[lists.rows_of(answered.numbers)] = pipeline.list_text.of_log(answered.context)[:, 0]
    return scores


def quality(log: TextLog, judged: Rows, scores: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Average each method's metrics, and their difference, over the lists, with bootstrap intervals over users."""
    clicked = log.lists.clicked[log.lists.rows(judged)]
    offsets = np.concatenate([[0], np.cumsum(log.lists.lists.lengths[judged])])
    found = {method: list_metrics(values, clicked, offsets) for method, values in scores.items()}
    columns = {f"{method}_{name}": one.values[name] for method, one in found.items() for name in METRICS}
    for name in METRICS:
        columns[f"difference_{name}"] = columns[f"text_only_{name}"] - columns[f"cross_encoder_{name}"]
    users = log.users[judged][found["text_only"].kept]
    told = intervals(np.stack(list(columns.values()), axis=1), users, draws=DRAWS, seed=0)
    figures = {}
    for name, figure in zip(columns, told, strict=True):
        says = f"95 %: {figure.low:.4f} to {figure.high:.4f}"
        figures[name] = Figure(value=figure.value, unit="", says=says)
        figures[f"{name}_low"] = Figure(value=figure.low, unit="", shown=False)
        figures[f"{name}_high"] = Figure(value=figure.high, unit="", shown=False)
    return figures


def cost(model: CrossEncoder, pipeline: RankingPipeline, log: TextLog, judged: Rows) -> dict[str, Figure]:
    """Count and time one request of 100 candidates, on one thread, item vectors ready."""
    settings = pipeline.manifest.text
    entries = int(np.median((log.lists.history[judged] < log.lists.pad).sum(axis=1)))
    flops = {
        "click_head": click_predictor_flops(
            candidates=CANDIDATES, history=settings.history_length, dimensions=settings.dimensions
        ),
        "cross_encoder": model.flops_per_request(CANDIDATES, entries),
    }
    place = int(judged[np.argsort((log.lists.history[judged] < log.lists.pad).sum(axis=1))[len(judged) // 2]])
    items = np.random.default_rng(0).integers(0, len(pipeline.catalog), CANDIDATES)
    seconds = {
        "click_head": timed(lambda: _head(pipeline, log, place, items), 50),
        "cross_encoder": timed(lambda: _pairs(model, log, place, items), 3),
    }
    figures = {}
    for name, count in flops.items():
        figures[f"{name}_gflops"] = Figure(value=count / 1e9, unit="GFLOP", says="a request of 100 candidates")
        figures[f"{name}_ms"] = Figure(value=1e3 * seconds[name], unit="ms", says="the same, measured, one thread")
    ratio = flops["cross_encoder"] / flops["click_head"]
    figures["ratio_flops"] = Figure(value=ratio, unit="x", says="cross-encoder / click head")
    ratio = seconds["cross_encoder"] / seconds["click_head"]
    figures["ratio_ms"] = Figure(value=ratio, unit="x", says="cross-encoder / click head")
    return figures


def timed(work: Callable[[], object], times: int) -> float:
    """Return the median seconds of some runs, after one that does not count."""
    took = []
    for _ in range(times + 1):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return float(np.median(took[1:]))


def _head(pipeline: RankingPipeline, log: TextLog, place: int, items: Rows) -> None:
    known = log.lists.history[place] < len(pipeline.vectors)
    pipeline.text.score(
        pipeline.vectors,
        items,
        np.where(known, log.lists.history[place], -1),
        np.where(known, log.lists.actions[place], 0).astype(np.int8),
        log.lists.ages[place],
    )


@torch.no_grad()
def _pairs(model: CrossEncoder, log: TextLog, place: int, items: Rows) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = model.network.eval()
    with torch.autocast(network.out.weight.device.type, torch.bfloat16, enabled=model.config.bf16):
        network.read(model.pairs.pairs(log.lists, np.full(len(items), place), items))
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
