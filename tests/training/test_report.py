"""The HTML page: complete, self-contained, and true to the evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from recsys.metrics import METRICS, click_report
from recsys.schema import Rung
from training.bootstrap import Figure
from training.evaluation import DatasetFacts, Evaluation, SliceFigures, StaleFigures
from training.report import RankingExample, write_report
from training.rung_figures import RungFigures

AUC = {
    "full": 0.81,
    "text_only": 0.74,
    "behaviour_only": 0.72,
    "popularity": 0.66,
    "shown_order": 0.53,
    "random": 0.5,
}


def figures(value: float) -> Mapping[str, Figure]:
    return {name: Figure(value=value, low=value - 0.02, high=value + 0.02) for name in METRICS}


def evaluation(gain: float = 0.09, left: float = 0.01) -> Evaluation:
    methods = {method: figures(value) for method, value in AUC.items()}
    rng = np.random.default_rng(0)
    probability = rng.random(500)
    return Evaluation(
        bundle_id="b-<1>",
        lists=1_234,
        users=321,
        methods=methods,
        differences={
            "full - behaviour_only": figures(gain),
            "full - text_only": figures(0.07),
            "full - popularity": figures(0.15),
        },
        slices={
            "new_items": SliceFigures(
                title="new items", says="a clicked item is new", lists=7, users=5, methods=methods
            ),
            "new_users": SliceFigures(title="new users", says="nothing is known", lists=0, users=0, methods={}),
        },
        stale={
            "frozen_24h": StaleFigures(
                title="frozen 24 h",
                says="a day",
                methods={method: methods[method] for method in ("full", "text_only")},
                difference=figures(0.07),
            ),
            "gone": StaleFigures(
                title="gone",
                says="for ever",
                methods={"full": figures(AUC["text_only"] + left), "text_only": methods["text_only"]},
                difference=figures(left),
            ),
        },
        rungs={
            Rung.FULL: RungFigures(says="everything", figures=figures(0.81), above_full=figures(0.0)),
            Rung.BEHAVIOUR: RungFigures(says="no text", figures=figures(0.72), above_full=figures(-0.09)),
        },
        calibration=click_report(probability, rng.random(500) < probability),
        tie_rates=dict.fromkeys(methods, 0.0),
        dataset=DatasetFacts(
            split="given by the dataset",
            training_lists=9_000,
            test_lists=1_300,
            items_shown=88,
            unknown_items=4,
            click_rate=0.2,
            first="2026-01-01T00:00:00+00:00",
            last="2026-01-02T00:00:00+00:00",
        ),
        draws=1_000,
        seed=0,
    )


class References(HTMLParser):
    """Collects whatever a browser would fetch, and how many elements stay open."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset"}]


def page_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_page_fetches_nothing_and_runs_nothing(tmp_path: Path) -> None:
    write_report(evaluation(), tmp_path / "report.html")
    page = page_of(tmp_path / "report.html")
    parser = References()
    parser.feed(page)

    assert all(target.startswith(("#", "data:")) for target in parser.fetched)
    assert not {"script", "iframe", "img", "object"} & set(parser.tags)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_figures_stand_in_the_page(tmp_path: Path) -> None:
    write_report(evaluation(), tmp_path / "report.html", title="Shop & more")
    page = page_of(tmp_path / "report.html")

    for words in (
        "81.0 %",
        "9.0 points",
        "1,234",
        "321",
        "0.810<small>±0.020",
        "+0.150",
        "no such lists",
        "Shop &amp; more",
    ):
        assert words in page
    assert "b-&lt;1&gt;" in page
    assert "<1>" not in page


def test_three_plots_are_drawn_in_the_colours_of_the_page_under_ids_of_their_own(tmp_path: Path) -> None:
    write_report(evaluation(), tmp_path / "report.html")
    page = page_of(tmp_path / "report.html")
    ids = re.findall(r' id="([^"]+)"', page)

    assert page.count("<svg") == 3
    assert "#0102" not in page
    assert "font-family: 'DejaVu" not in page
    assert len(ids) == len(set(ids))
    drawn = page[page.index("<svg") :]
    used = set(re.findall(r"var\(--([a-z-]+)\)", drawn))
    assert {"full", "text-only", "behaviour-only", "popularity", "shown-order", "random", "ink"} <= used
    assert all(f"--{name}:" in page for name in used)


def test_the_same_evaluation_gives_the_same_bytes(tmp_path: Path) -> None:
    write_report(evaluation(), tmp_path / "a.html")
    write_report(evaluation(), tmp_path / "b.html")

    assert page_of(tmp_path / "a.html") == page_of(tmp_path / "b.html")


@pytest.mark.parametrize(
    ("gain", "says"),
    [(0.09, "brings <b>9.0 points"), (0.01, "cannot be told from these lists"), (-0.05, "5.0 points <em>below</em>")],
)
def test_the_opening_sentence_says_no_more_than_the_interval_allows(tmp_path: Path, gain: float, says: str) -> None:
    write_report(evaluation(gain), tmp_path / "report.html")

    assert says in page_of(tmp_path / "report.html")


@pytest.mark.parametrize(("left", "verdict"), [(0.01, "better"), (-0.002, "better"), (-0.004, "worse")])
def test_the_verdict_of_the_stale_counter_test_is_shown(tmp_path: Path, left: float, verdict: str) -> None:
    write_report(evaluation(left=left), tmp_path / "report.html")
    word = {"better": "passed", "worse": "failed"}[verdict]

    assert f'<span class="{verdict}">{word}</span>.</p>' in page_of(tmp_path / "report.html")
    assert page_of(tmp_path / "report.html").count(f'<td class="{verdict}">{word}</td>') == 1 + (verdict == "better")


def test_a_ranking_is_shown_with_its_reasons_and_foreign_text_is_escaped(tmp_path: Path) -> None:
    example = RankingExample(
        title="A ranking",
        note="for one user",
        columns=("item", "score", "views", "what moved it"),
        rows=(
            ("<script>boots</script>", 1.23456, 12, ("+ text match", "- seen before", "new")),
            ("stove", -0.5, 3, ()),
        ),
    )
    write_report(evaluation(), tmp_path / "report.html", ranking_example=example)
    page = page_of(tmp_path / "report.html")

    assert "&lt;script&gt;boots&lt;/script&gt;" in page
    assert "<td>1.235</td>" in page
    assert "<td>12</td>" in page
    assert '<span class="chip up">+ text match</span>' in page
    assert '<span class="chip down">- seen before</span>' in page
    assert '<span class="chip">new</span>' in page


def test_a_row_that_does_not_fit_its_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        RankingExample(title="A ranking", columns=("item", "score"), rows=(("boots",),))


def test_an_evaluation_with_a_cross_encoder_gets_its_row_and_colour(tmp_path: Path) -> None:
    plain = evaluation()
    more = replace(plain, methods={**plain.methods, "cross_encoder": figures(0.75)}, slices={})
    write_report(more, tmp_path / "report.html")

    assert "var(--cross-encoder)" in page_of(tmp_path / "report.html")


def test_a_page_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(evaluation(), path)

    assert page_of(path).startswith("<!doctype html>")
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]
