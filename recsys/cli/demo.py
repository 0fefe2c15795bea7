"""`recsys demo`: the whole path on a small simulated shop, from a click log to a ranked answer over gRPC."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer
from rich.panel import Panel
from rich.rule import Rule

from recsys.cli import ask, bundles, learn
from recsys.cli.console import console, counting
from recsys.dataset import read_dataset
from recsys.errors import ConfigError, NotReady

if TYPE_CHECKING:
    from serving.client import Explanation
    from training.report import RankingExample

# Small enough for two cores and a few minutes; text alone comes close to behaviour, both together to no more yet.
SHOP = {"items": 500, "users": 400, "lists": 8_000, "list_length": 16, "days": 14}
TRAINING = (
    "slices=[0.5]",
    "warm_epochs=6",
    "finetune.epochs=2",
    "text.tokens.title_tokens=16",
    "text.tokens.description_tokens=24",
    "text.tokens.category_tokens=12",
)
READY_S = 120.0
MARK = ".recsys-demo"


def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where to write; an earlier demo is replaced.")] = Path(
        "demo"
    ),
    seed: int = 0,
) -> None:
    """Simulate, train, evaluate, publish, serve, rank and explain: about three minutes on two cores."""
    from training.report import write_report  # noqa: PLC0415

    began = perf_counter()
    _prepare(directory)
    dataset, registry, page = directory / "dataset", directory / "registry", directory / "report.html"
    _title(1, "A shop whose truth is known")
    _simulate(dataset, seed)
    _title(2, "Train: text model, behavioural features, ranker, calibration, and publish the bundle")
    learn.train(dataset, registry, settings=[*TRAINING, f"seed={seed}"])
    bundles.list_(registry)
    _title(3, "Evaluate: did reading pay?")
    evaluation = learn.measure(registry, dataset)
    _title(4, "Serve, and rank over gRPC")
    with _server(registry) as address:
        explained, titles, user = _ask(dataset, address)
    ask.show_ranking(explained.ranking, dict(explained.reasons), titles)
    write_report(evaluation, page, ranking_example=_example(explained, titles, user))
    _title(5, f"Done in {perf_counter() - began:.0f} s")
    _next(directory, page, explained)


def _prepare(directory: Path) -> None:
    if directory.exists():
        if not (directory / MARK).is_file():
            raise ConfigError(f"{directory} exists and is no earlier demo; name another place with --dir")
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    (directory / MARK).touch()


def _title(number: int, text: str) -> None:
    console.print()
    console.print(Rule(f"[bold]{number}  {text}[/]", align="left"))


def _simulate(dataset: Path, seed: int) -> None:
    from training.simulate import simulate  # noqa: PLC0415
    from training.simulator.config import SimulationConfig  # noqa: PLC0415

    with counting("simulate") as progress:
        simulate(SimulationConfig(seed=seed, **SHOP), dataset, progress)  # type: ignore[arg-type]
    shown = read_dataset(dataset).items.sample(3, seed=seed)
    for title, description in shown.select("title", "description").iter_rows():
        console.print(f"  [bold]{title}[/]  [dim]{description}[/]", overflow="ellipsis", no_wrap=True)


@contextmanager
def _server(registry: Path) -> Iterator[str]:
    """Run `recsys serve` as its own process while the block runs."""
    command = [sys.executable, "-m", "recsys.cli", "serve", str(registry), "--port", "0"]
    console.print(f"  [dim]$ recsys serve {registry}[/]")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield _address(server)
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=READY_S)


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None  # noqa: S101  # it was opened with a pipe
    lines = []
    for line in server.stderr:
        lines.append(line)
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("event") == "serving":
            return str(event["address"])
    raise NotReady("the server stopped before it served: " + "".join(lines)[-2_000:])


def _ask(dataset: Path, address: str) -> tuple[Explanation, dict[str, str], str]:
    """Ask for a returning user's newest list, as if it were shown now, and show what the user clicked before."""
    from serving.client import RankingClient  # noqa: PLC0415

    tables = read_dataset(dataset)
    titles = dict(tables.items.select("item_id", "title").iter_rows())
    clicks = tables.impressions.explode("item_ids", "clicked", empty_as_null=False).filter("clicked")
    user = str(clicks["user_id"].value_counts(sort=True)["user_id"][0])
    newest = tables.impressions.filter(pl.col("user_id") == user).row(-1, named=True)
    before = clicks.filter((pl.col("user_id") == user) & (pl.col("ts") < newest["ts"]))["item_ids"].to_list()
    console.print(f"  user [bold]{user}[/] clicked last: " + "; ".join(titles[item] for item in before[-4:]))
    with RankingClient(address, deadline_s=10.0) as client:
        client.wait_until_ready(READY_S)
        asked = client.explain(user, newest["item_ids"], reasons=3, ts=round(newest["ts"].timestamp() * 1e6), top_k=10)
    return asked, titles, user


def _example(explained: Explanation, titles: dict[str, str], user: str) -> RankingExample:
    """Tell the ranking that was just asked for, for the page."""
    from training.report import RankingExample  # noqa: PLC0415

    rows = []
    for item in explained.ranking.items:
        moved = tuple(f"{why.effect:+.2f} {why.feature}" for why in explained.reasons.get(item.item_id, ()))
        rows.append((titles[item.item_id], item.score, item.click_probability, moved))
    return RankingExample(
        title="One ranking, explained",
        columns=("item", "score", "P(click)", "moved by"),
        rows=tuple(rows),
        note=f"Asked over gRPC for user {user}.",
    )


def _next(directory: Path, page: Path, explained: Explanation) -> None:
    ids = " ".join(item.item_id for item in explained.ranking.items[:3])
    console.print(
        Panel(
            f"Open [bold]{page}[/] for the evaluation with its plots.\n\n"
            f"Serve it:         [bold]recsys serve {directory / 'registry'}[/]\n"
            f"Ask it:           [bold]recsys explain {ids} --query 'something warm'[/]\n"
            "Your own data:    [bold]recsys validate DATASET[/], [bold]recsys train DATASET --registry REGISTRY[/]\n"
            f"A whole catalog:  [bold]recsys score {directory / 'registry'} --items "
            f"{directory / 'dataset' / 'items.parquet'} --out scored[/]",
            title="What to type next",
            title_align="left",
        )
    )
