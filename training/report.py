"""Write an evaluation as one HTML page that needs nothing else: no network, no scripts, light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from recsys.files import write_file
from recsys.metrics import METRICS
from training import plots
from training.bootstrap import Figure
from training.evaluation import Evaluation
from training.evaluation_tables import LABELS
from training.staleness import TOLERANCE

# A cell of an example: words, a number (three decimals), or short phrases; one that begins with + or - is coloured.
Cell = str | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingExample:
    """A ranking to show in full: a title, a line about it, and a table with the best item first."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")


def write_report(
    evaluation: Evaluation,
    path: Path,
    *,
    ranking_example: RankingExample | None = None,
    title: str = "Ranking quality",
) -> None:
    """Write the page to ``path``, whole or not at all; the folder must exist."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": _figure, "signed": _signed, "points": _points, "verdict": _verdict}
    template = environment.from_string(files("training").joinpath("report.html.j2").read_text(encoding="utf-8"))
    page = template.render(
        title=title,
        evaluation=evaluation,
        example=ranking_example,
        metrics=list(METRICS),
        labels=LABELS,
        tolerance=TOLERANCE,
        best=_best(evaluation.methods),
        slice_best={name: _best(part.methods) for name, part in evaluation.slices.items() if part.lists},
        # Our own drawings, in which matplotlib has escaped all text.
        method_bars=Markup(plots.method_bars(evaluation)),  # noqa: S704
        slice_dots=Markup(plots.slice_dots(evaluation)),  # noqa: S704
        reliability=Markup(plots.reliability(evaluation)),  # noqa: S704
    )
    write_file(path, page.encode())


def _best(methods: Mapping[str, Mapping[str, Figure]]) -> dict[str, float]:
    return {metric: max(row[metric].value for row in methods.values()) for metric in METRICS}


def _figure(figure: Figure) -> str:
    return f"{figure.value:.3f}"


def _signed(figure: Figure) -> str:
    return f"{figure.value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _points(figure: Figure) -> str:
    return f"{abs(figure.value) * 100:.1f}"


def _verdict(figure: Figure) -> str:
    """Say in one word, which is also its CSS class, what the interval allows to say."""
    return "better" if figure.low > 0 else "worse" if figure.high < 0 else "unsure"
