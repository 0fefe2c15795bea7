"""An evaluation as inline SVG, drawn in the colours of the page that it stands in.

Matplotlib knows no CSS, so each colour is drawn as a placeholder and then replaced by a CSS variable: the same plot
follows the reader's light or dark setting. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from recsys.metrics import METRICS
from training.evaluation import Evaluation
from training.evaluation_tables import LABELS

# Placeholder -> CSS variable. No plot uses a placeholder's colour for anything else.
_COLOURS = {
    "ink": "#010203",
    "muted": "#010204",
    "line": "#010205",
    "full": "#010206",
    "text_only": "#010207",
    "behaviour_only": "#010208",
    "cross_encoder": "#010209",
    "popularity": "#01020a",
    "shown_order": "#01020b",
    "random": "#01020c",
}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": _COLOURS["ink"],
    "axes.labelcolor": _COLOURS["muted"],
    "axes.edgecolor": _COLOURS["line"],
    "axes.titlecolor": _COLOURS["ink"],
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _COLOURS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": _COLOURS["line"],
    "ytick.color": _COLOURS["line"],
    "xtick.labelcolor": _COLOURS["muted"],
    "ytick.labelcolor": _COLOURS["ink"],
    "xtick.labelsize": 8,
    "figure.facecolor": "none",
    "legend.frameon": False,
}
# The slices are drawn for the methods that say most, by this metric.
SLICE_METRIC = "auc"
_SLICE_METHODS = ("full", "text_only", "behaviour_only", "popularity", "cross_encoder")


def method_bars(evaluation: Evaluation) -> str:
    """Draw one panel per metric: a bar per method with its interval, best first, chance dashed."""
    methods = evaluation.best_first()[::-1]
    with _drawing("methods", width=11.0, height=0.9 + 0.34 * len(methods), columns=len(METRICS)) as (axes, svg):
        for panel, metric in zip(axes, METRICS, strict=True):
            for place, method in enumerate(methods):
                figure = evaluation.methods[method][metric]
                panel.barh(place, figure.value, height=0.62, color=_COLOURS[method])
                _interval(panel, figure.low, figure.high, place, _COLOURS["ink"])
                after = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
                panel.annotate(f"{figure.value:.3f}", (figure.high, place), fontsize=8, **after)
            chance = evaluation.methods["random"][metric].value
            panel.axvline(chance, color=_COLOURS["muted"], linewidth=0.8, linestyle=(0, (3, 3)))
            top = max(row[metric].high for row in evaluation.methods.values())
            panel.set(title=metric, yticks=range(len(methods)), yticklabels=[LABELS[m] for m in methods])
            panel.set_xlim(0, top * 1.32)
            panel.xaxis.set_major_locator(MaxNLocator(3))
            panel.spines["left"].set_visible(False)
            panel.tick_params(axis="y", length=0, labelleft=panel is axes[0])
    return svg[0]


def slice_dots(evaluation: Evaluation) -> str:
    """Draw each slice that holds lists: a dot with its interval for each of the telling methods."""
    methods = [method for method in _SLICE_METHODS if method in evaluation.methods]
    rows = {"all lists": (evaluation.lists, evaluation.methods)} | {
        part.title: (part.lists, part.methods) for part in evaluation.slices.values() if part.lists
    }
    with _drawing("slices", width=11.0, height=0.9 + 0.5 * len(rows), columns=1) as (axes, svg):
        panel = axes[0]
        for place, (_, figures) in enumerate(reversed(rows.values())):
            panel.axhspan(place - 0.5, place + 0.5, color=_COLOURS["line"], alpha=0.35 * (place % 2), linewidth=0)
            for number, method in enumerate(methods):
                figure = figures[method][SLICE_METRIC]
                height = place + 0.32 * (1 - 2 * number / max(1, len(methods) - 1))
                _interval(panel, figure.low, figure.high, height, _COLOURS[method])
                label = LABELS[method] if place == 0 else None
                panel.plot(figure.value, height, "o", markersize=5, color=_COLOURS[method], label=label)
        panel.axvline(0.5, color=_COLOURS["muted"], linewidth=0.8, linestyle=(0, (3, 3)))
        names = [f"{name}  ({count:,})" for name, (count, _) in rows.items()]
        panel.set(yticks=range(len(rows)), yticklabels=names[::-1], ylim=(-0.5, len(rows) - 0.5))
        panel.set_xlabel(f"{SLICE_METRIC} with 95 % interval; dashed: chance")
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(methods))
    return svg[0]


def reliability(evaluation: Evaluation) -> str:
    """Draw what was said against what happened, with binomial 95 % intervals."""
    bins = evaluation.calibration.bins
    with _drawing("reliability", width=4.8, height=4.2, columns=1) as (axes, svg):
        panel = axes[0]
        top = 1.08 * max(max(part.probability, part.click_rate) for part in bins) or 1.0
        panel.plot([0, top], [0, top], color=_COLOURS["muted"], linewidth=0.8, linestyle=(0, (3, 3)))
        for part in bins:
            half = 1.96 * (part.click_rate * (1 - part.click_rate) / part.count) ** 0.5
            ends = [part.click_rate - half, part.click_rate + half]
            panel.plot([part.probability] * 2, ends, color=_COLOURS["full"], linewidth=1.4, alpha=0.6)
        said = [part.probability for part in bins]
        panel.plot(said, [part.click_rate for part in bins], "o-", markersize=5, color=_COLOURS["full"], linewidth=1.4)
        panel.set(xlabel="click probability that the model says", ylabel="share of items clicked")
        panel.set(xlim=(0, top), ylim=(0, top))
        panel.grid(visible=True)
    return svg[0]


def _interval(panel: Any, low: float, high: float, height: float, colour: str) -> None:
    panel.plot([low, high], [height] * 2, color=colour, linewidth=1.4, solid_capstyle="round", alpha=0.75)


@contextmanager
def _drawing(name: str, *, width: float, height: float, columns: int) -> Iterator[tuple[Sequence[Any], list[str]]]:
    """Yield axes to draw on (sizes in inches), and a list that holds the SVG when the block has ended."""
    svg: list[str] = []
    # The salt keeps ids apart between the plots of one page, and the same from run to run.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        yield list(canvas.subplots(1, columns, squeeze=False)[0]), svg
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg.append(_for_page(buffer.getvalue(), name))


def _for_page(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"(font: (?:bold )?[\d.]+px) [^;\"]*", r"\1 inherit", svg)
    svg = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg class="plot" role="img" aria-label="{name}" \1>', svg, count=1
    )
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)
    for role, placeholder in _COLOURS.items():
        svg = svg.replace(placeholder, f"var(--{role.replace('_', '-')})")
    return svg
