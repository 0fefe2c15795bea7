"""`recsys events export`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from recsys.cli.console import console, counting, write_json
from recsys.cli.data import JsonOption, OutOption
from recsys.registry import resolve

app = typer.Typer(help="What a server was told of: lists, clicks, and whatever else was done.", no_args_is_help=True)

# What the command prints, in its order, and what each figure means.
_SAYS = {
    "impressions": "lists in the log",
    "open_lists": "left out: their click window is not over",
    "clicks": "clicks in the log",
    "open_clicks": "on lists left out",
    "joined": "set a flag of their list",
    "join_rate": "joined, of the clicks not on lists left out",
    "late": "after the window; in events.parquet",
    "double": "a second click on the same item of a list",
    "off_list": "on an item that the list did not show",
    "orphans": "whose list has not come",
    "interactions": "carts, purchases and so on; in events.parquet",
    "unknown_items": "places and events left out: not in the item table",
}


@app.callback()
def events() -> None:
    """Keep ``export`` a command of its own name while it is the only one."""


@app.command()
def export(
    data: Annotated[Path, typer.Argument(help="The server's data directory; it may be running.")],
    items: Annotated[Path, typer.Option("--items", help="Item table: its file, a dataset, a bundle or a registry.")],
    out: OutOption,
    click_window: Annotated[float, typer.Option(min=0, help="Seconds in which a click counts for its list.")] = 1_800.0,
    json_file: JsonOption = None,
) -> None:
    """Make a dataset of the event log: lists with their clicks as flags, everything else as events."""
    from recsys.dataset import read_items  # noqa: PLC0415
    from serving.data_directory import EVENTS  # noqa: PLC0415
    from serving.event_export import export_events  # noqa: PLC0415

    table = read_items(resolve(items) if (items / "bundles").is_dir() else items)
    with counting("export") as progress:
        report = export_events(
            data / EVENTS, table, out,
            click_window_s=click_window, now_us=time.time_ns() // 1_000, progress=progress,
        )  # fmt: skip
    figures = {**asdict(report), "join_rate": report.join_rate}
    shown = Table(title=f"[green]✓[/] {out}", title_justify="left", show_header=False, box=None)
    for name, says in _SAYS.items():
        value = figures[name]
        text = "none" if value is None else f"{value:.1%}" if isinstance(value, float) else f"{value:,}"
        shown.add_row(name.replace("_", " "), text, f"[dim]{says}[/]")
    console.print(shown)
    write_json(json_file, {**figures, "click_window_s": click_window, "directory": str(out)})
