"""An evaluation as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from recsys.metrics import METRICS
from recsys.schema import Rung
from training.bootstrap import Figure
from training.staleness import TOLERANCE

if TYPE_CHECKING:
    from training.evaluation import Evaluation

# What each method goes by, in words.
LABELS = {
    "full": "full stack",
    "text_only": "text only",
    "behaviour_only": "behaviour only",
    "popularity": "popularity",
    "shown_order": "shown order",
    "random": "random",
    "cross_encoder": "cross-encoder",
}
# The slices are shown by this metric.
SLICE_METRIC = "auc"


def tables(evaluation: Evaluation) -> tuple[RenderableType, ...]:
    """Return the methods, best first; what the full stack gains; the slices; stale counters; rungs; calibration."""
    return (
        _methods(evaluation),
        _differences(evaluation),
        _slices(evaluation),
        _stale(evaluation),
        _rungs(evaluation),
        _calibration(evaluation),
    )


def _new(title: str, caption: str = "") -> Table:
    return Table(
        title=title,
        caption=caption,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),  # the methods' table just fits 80 columns
    )


def _cell(figure: Figure, *, style: str = "", sure: bool = True, sign: bool = False) -> Text:
    text = Text(f"{figure.value:+.3f}".replace("0.", ".") if sign else f"{figure.value:.3f}", style=style)
    if sure:
        text.append(f"±{figure.half_width:.3f}".replace("0.", "."), style="dim not bold")
    return text


def _methods(evaluation: Evaluation) -> Table:
    table = _new(
        f"Ranking quality of {evaluation.bundle_id}",
        f"means over {evaluation.lists:,} test lists of {evaluation.users:,} users, ± half the 95 % interval",
    )
    table.add_column("method", no_wrap=True)
    best = {name: max(row[name].value for row in evaluation.methods.values()) for name in METRICS}
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    for method in evaluation.best_first():
        row = evaluation.methods[method]
        cells = [_cell(row[name], style="bold green" if row[name].value == best[name] else "") for name in METRICS]
        table.add_row(Text(LABELS[method], style="bold" if method == "full" else ""), *cells)
    return table


def _differences(evaluation: Evaluation) -> Table:
    table = _new("What each part adds", "paired over lists; green and red: the 95 % interval leaves out zero")
    table.add_column("", no_wrap=True)
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    better = ""
    for pair, row in evaluation.differences.items():
        method, worse = pair.split(" - ")
        if method != better:
            table.add_row(Text(f"{LABELS[method]} above", style="bold"))
            better = method
        cells = [_cell(row[name], style=_colour(row[name]), sign=True) for name in METRICS]
        table.add_row(LABELS[worse], *cells)
    return table


def _colour(figure: Figure) -> str:
    return "green" if figure.low > 0 else "red" if figure.high < 0 else ""


def _slices(evaluation: Evaluation) -> Table:
    table = _new(f"Slices ({SLICE_METRIC})")
    table.add_column("slice", no_wrap=True)
    table.add_column("lists", justify="right")
    # Chance is the same everywhere; without it the table fits 80 columns.
    methods = [method for method in evaluation.best_first() if method != "random"]
    for method in methods:
        table.add_column(LABELS[method].replace(" ", "\n").replace("-", "-\n"), justify="right", no_wrap=True)
    for part in evaluation.slices.values():
        best = max((row[SLICE_METRIC].value for row in part.methods.values()), default=0.0)
        cells = []
        for method in methods if part.lists else ():
            figure = part.methods[method][SLICE_METRIC]
            # One user alone has no interval.
            sure = method == "full" and part.users > 1
            cells.append(_cell(figure, style="bold green" if figure.value == best else "", sure=sure))
        table.add_row(part.title, f"{part.lists:,}", *(cells or [Text("-", style="dim")] * len(methods)))
    return table


def _stale(evaluation: Evaluation) -> Table:
    verdict = "passed" if evaluation.stale_passed else "FAILED"
    table = _new(
        f"Stale-counter test: {verdict}",
        f"passed where the full stack's auc is at least that of text alone, less {TOLERANCE}",
    )
    table.add_column("counters", no_wrap=True)
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    for part in evaluation.stale.values():
        passed = Text("passed", style="green") if part.passed else Text("failed", style="bold red")
        table.add_row(Text(part.title, style="bold"), passed)
        for method, row in part.methods.items():
            table.add_row(LABELS[method], *(_cell(row[name]) for name in METRICS))
        table.add_row("difference", *(_cell(part.difference[name], sign=True) for name in METRICS))
    return table


def _rungs(evaluation: Evaluation) -> Table:
    table = _new(
        "Rungs of service", "and how far each is above the first, paired over lists; coloured where that is sure"
    )
    table.add_column("rung", no_wrap=True)
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    for rung, part in evaluation.rungs.items():
        table.add_row(Text(rung.replace("_", " "), style="bold"), *(_cell(part.figures[name]) for name in METRICS))
        if rung is not Rung.FULL:
            cells = [_cell(part.above_full[name], style=_colour(part.above_full[name]), sign=True) for name in METRICS]
            table.add_row("  above full", *cells)
    return table


def _calibration(evaluation: Evaluation) -> Table:
    report = evaluation.calibration
    table = _new("Click probability", "base log loss: of always saying the click rate")
    for name in ("items", "click rate", "calibration error", "log loss", "base log loss"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{report.count:,}",
        f"{report.base_rate:.3f}",
        f"{report.ece:.4f}",
        f"{report.log_loss:.4f}",
        f"{report.base_log_loss:.4f}",
    )
    return table
