"""`recsys score`: a catalog or stored requests, from Parquet to Parquet."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.console import console, counting, write_json
from recsys.cli.data import JsonOption
from recsys.errors import ConfigError
from recsys.registry import resolve


class Precision(StrEnum):
    """In which arithmetic the item encoder runs."""

    fp32 = "fp32"
    int8 = "int8"
    fp16 = "fp16"


def score(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a registry for its current one.")],
    out: Annotated[Path, typer.Option("--out", help="Directory for the shards; run again to go on.")],
    items: Annotated[Path | None, typer.Option("--items", help="An item table: vectors and click probability.")] = None,
    lists: Annotated[
        Path | None, typer.Option("--lists", help="Stored requests: the server's ranking of each.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="For --items; int8 and fp16 where the bundle has them.")
    ] = Precision.fp32,
    json_file: JsonOption = None,
) -> None:
    """Score a catalog or stored requests; shards appear whole or not at all, and a second run does only the rest."""
    from training.batch_score import score_items, score_lists  # noqa: PLC0415

    if (items is None) == (lists is None):
        raise ConfigError("name either --items or --lists")
    source = resolve(bundle)
    with counting("score") as progress:
        if items is not None:
            scored = score_items(source, items, out, precision=precision.value, progress=progress)
        else:
            assert lists is not None  # noqa: S101  # one of the two is given
            scored = score_lists(source, lists, out, progress=progress)
    console.print(f"[green]✓[/] {scored}")
    write_json(json_file, asdict(scored))
