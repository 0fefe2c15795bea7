"""What the terminal shows of a ranking is what it says."""

from __future__ import annotations

from dataclasses import replace

from recsys.cli.ask import show_ranking
from recsys.cli.console import console
from recsys.schema import RankedItem, Ranking


def test_brackets_in_ids_and_titles_are_shown_as_they_are() -> None:
    items = (RankedItem(item_id="x[bold]y", score=1.0, click_probability=0.5),)
    ranking = Ranking(
        request_id="a[/b]c", bundle_id="one", items=items, text_coverage=1.0, unknown_items=("see [link]",)
    )
    with console.capture() as shown:
        show_ranking(ranking, {}, {"x[bold]y": "[Refurbished] Wool [/i] socks"})

    for said in ("x[bold]y", "[Refurbished] Wool [/i] socks", "a[/b]c", "see [link]"):
        assert said in shown.get()


def test_what_a_ranking_had_to_do_without_is_shown() -> None:
    whole = Ranking(request_id="a", bundle_id="one", items=(), text_coverage=1.0)
    with console.capture() as shown:
        show_ranking(whole, {}, {})
    with console.capture() as less:
        show_ranking(replace(whole, degraded=("no_state",)), {}, {})

    assert "degraded" not in shown.get()
    assert "degraded: no_state" in less.get()
