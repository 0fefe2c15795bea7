"""`recsys import`, `recsys simulate`, `recsys validate`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recsys.cli.console import console, counting, write_json
from recsys.dataset import Dataset, describe, read_dataset
from recsys.dataset import validate as find_faults
from recsys.errors import DatasetError

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result to this file too.")]
OutOption = Annotated[Path, typer.Option("--out", help="The dataset directory to make; it must not exist yet.")]


class Source(StrEnum):
    """The public datasets that can be imported."""

    ranklens = "ranklens"
    mind = "mind"
    movielens = "movielens"


def import_(
    source: Annotated[Source, typer.Argument(help="Which public dataset.")],
    src: Annotated[Path, typer.Argument(help="Its file or folder, as published.")],
    out: OutOption,
    json_file: JsonOption = None,
) -> None:
    """Turn a public dataset into our tables."""
    from training.importers.mind import import_mind  # noqa: PLC0415
    from training.importers.movielens import import_movielens  # noqa: PLC0415
    from training.importers.ranklens import import_ranklens  # noqa: PLC0415

    importers: dict[Source, Callable[[Path, Path], Dataset]] = {
        Source.ranklens: import_ranklens, Source.mind: import_mind, Source.movielens: import_movielens,
    }  # fmt: skip
    with console.status(f"importing {source}"):
        facts = describe(importers[source](src, out))
    _show(str(out), facts)
    write_json(json_file, facts)


def simulate(
    out: OutOption,
    lists: Annotated[int, typer.Option(min=1, help="Lists shown; a million is fine.")] = 10_000,
    items: Annotated[int, typer.Option(min=1)] = 2_000,
    users: Annotated[int, typer.Option(min=1)] = 1_000,
    list_length: Annotated[int, typer.Option(min=2)] = 20,
    days: Annotated[int, typer.Option(min=1)] = 28,
    position_bias: Annotated[
        float, typer.Option(min=0.0, help="Place r is looked at with probability r^-bias.")
    ] = 0.25,
    noise: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of blind decisions.")] = 0.05,
    seed: int = 0,
    json_file: JsonOption = None,
) -> None:
    """Make a shop whose truth is known: tastes, quality, freshness, drifting popularity, position bias, newcomers."""
    from training.simulate import simulate as run  # noqa: PLC0415
    from training.simulator.config import SimulationConfig  # noqa: PLC0415

    config = SimulationConfig(
        seed=seed, items=items, users=users, lists=lists, list_length=list_length, days=days,
        position_bias=position_bias, noise=noise,
    )  # fmt: skip
    with counting("simulate") as progress:
        run(config, out, progress)
    console.print(f"[green]✓[/] {lists:,} lists in [bold]{out}[/]; the truth is in {out / 'truth.parquet'}")
    write_json(json_file, {"lists": lists, "items": items, "users": users, "directory": str(out)})


def validate(
    dataset: Annotated[Path, typer.Argument(help="The dataset directory.")], json_file: JsonOption = None
) -> None:
    """Find every fault of a dataset, with file, column, row and remedy; nothing is written."""
    with console.status("reading"):
        faults = find_faults(dataset)
    listed = [{name: getattr(fault, name) for name in fault.__dataclass_fields__} for fault in faults]
    if faults:
        write_json(json_file, {"ok": False, "faults": listed})
        raise DatasetError(faults)
    facts = describe(read_dataset(dataset))
    _show(str(dataset), facts)
    write_json(json_file, {"ok": True, "faults": [], "facts": facts})


def _show(title: str, facts: dict[str, Any]) -> None:
    table = Table(title=f"[green]✓[/] {title}", title_justify="left", show_header=False, box=None)
    for group, values in facts.items():
        for name, value in values.items():
            if isinstance(value, dict):
                value = ", ".join(f"{key} {part}" for key, part in value.items()) or "none"  # noqa: PLW2901
            shown = (
                f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
            )
            table.add_row(f"[dim]{group}[/] {name.replace('_', ' ')}", shown)
    console.print(table)
