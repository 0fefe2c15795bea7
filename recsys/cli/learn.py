"""`recsys train` and `recsys evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.console import console, counting, stages, write_json
from recsys.cli.data import JsonOption
from recsys.dataset import read_dataset
from recsys.registry import resolve

if TYPE_CHECKING:
    from training.evaluation import Evaluation

DatasetArgument = Annotated[Path, typer.Argument(help="The dataset directory.")]


def train(
    dataset: DatasetArgument,
    registry: Annotated[Path, typer.Option("--registry", help="Where versions are kept; made if absent.")],
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file; see docs/training.md.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, again and again.")] = None,
    promote: Annotated[bool, typer.Option(help="Make the new version the current one.")] = True,
    keep_work: Annotated[bool, typer.Option(help="Keep checkpoints and TensorBoard logs.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Retrain everything and publish a bundle; stopped, the same command goes on where it was."""
    from training.config import load_config  # noqa: PLC0415
    from training.train import train as run  # noqa: PLC0415

    chosen = load_config(config, settings or [])
    with stages() as tell:
        tell("read", 0.0, "")
        published = run(read_dataset(dataset), registry, chosen, tell, promote=promote, keep_work=keep_work)
    if published is None:
        return
    console.print(f"[green]✓[/] bundle [bold]{published.bundle_id}[/] in {published.directory}")
    console.print(f"  next: [bold]recsys evaluate {registry} {dataset}[/]")
    write_json(
        json_file,
        {"bundle_id": published.bundle_id, "directory": str(published.directory), "metrics": published.metrics},
    )


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a registry for its current one.")],
    dataset: DatasetArgument,
    json_file: JsonOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with tables and plots.")] = None,
    cross_encoder: Annotated[
        Path | None,
        typer.Option("--cross-encoder", help="Compare with the one saved here; trained first, for long, if absent."),
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws over users.")] = 1_000,
    seed: int = 0,
) -> None:
    """Measure a bundle on a dataset's test lists, beside its baselines, with intervals and slices."""
    from training.report import write_report  # noqa: PLC0415

    evaluation = measure(bundle, dataset, cross_encoder=cross_encoder, draws=draws, seed=seed)
    write_json(json_file, evaluation.to_json())
    if html is not None:
        write_report(evaluation, html)
        console.print(f"[green]✓[/] {html}")


def measure(
    bundle: Path, dataset: Path, *, cross_encoder: Path | None = None, draws: int = 1_000, seed: int = 0
) -> Evaluation:
    """Evaluate with a progress bar, and print the tables."""
    from recsys.pipeline import RankingPipeline  # noqa: PLC0415
    from training.evaluate import evaluate as run  # noqa: PLC0415

    pipeline = RankingPipeline.load(resolve(bundle))
    tables = read_dataset(dataset)
    pairs = None
    if cross_encoder is not None:
        from training.cross_baseline import score_test_lists  # noqa: PLC0415

        with stages() as tell:
            pairs = score_test_lists(cross_encoder, tables, pipeline.catalog, tell)
    with counting("evaluate") as progress:
        evaluation = run(pipeline, tables, cross_encoder=pairs, seed=seed, draws=draws, progress=progress)
    for table in evaluation.tables():
        console.print(table)
    return evaluation
