"""`recsys rank` and `recsys explain`: a client's view from the shell."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from recsys.cli.access import CaOption, CertificateOption, KeyOption, TokenOption, access
from recsys.cli.console import console, write_json
from recsys.cli.data import JsonOption
from recsys.schema import HistoryEntry, Ranking, Reason

UserOption = Annotated[str, typer.Option("--user", help="The user's id; empty for an anonymous one.")]
ItemsArgument = Annotated[list[str], typer.Argument(help="Ids of the candidates.")]
AddressOption = Annotated[str, typer.Option("--address", help="Where the server listens.")]
HistoryOption = Annotated[
    list[str] | None, typer.Option("--clicked", help="An item this user clicked, oldest first; replaces what is known.")
]
QueryOption = Annotated[str, typer.Option("--query", help="A search or a question.")]


def rank(
    items: ItemsArgument,
    user: UserOption = "",
    address: AddressOption = "127.0.0.1:50051",
    clicked: HistoryOption = None,
    query: QueryOption = "",
    top_k: Annotated[int, typer.Option(min=0, help="0 returns all.")] = 0,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
    json_file: JsonOption = None,
) -> None:
    """Ask a running server for a ranking."""
    from serving.client import RankingClient  # noqa: PLC0415

    with RankingClient(address, **access(ca, certificate, key, token_file)) as client:
        ranking = client.rank(user, items, history=_history(clicked), query=query, top_k=top_k)
    show_ranking(ranking, {}, {})
    write_json(json_file, asdict(ranking) | {"items": [asdict(item) for item in ranking.items]})


def explain(
    items: ItemsArgument,
    user: UserOption = "",
    address: AddressOption = "127.0.0.1:50051",
    clicked: HistoryOption = None,
    query: QueryOption = "",
    reasons: Annotated[int, typer.Option(min=1, help="Reasons per item.")] = 3,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
    json_file: JsonOption = None,
) -> None:
    """Ask for a ranking and for what moved each item."""
    from serving.client import RankingClient  # noqa: PLC0415

    with RankingClient(address, **access(ca, certificate, key, token_file)) as client:
        told = client.explain(user, items, reasons=reasons, history=_history(clicked), query=query)
    show_ranking(told.ranking, dict(told.reasons), {})
    moved = {item: [asdict(reason) for reason in why] for item, why in told.reasons.items()}
    write_json(json_file, {**asdict(told.ranking), "reasons": moved})


def show_ranking(ranking: Ranking, reasons: dict[str, tuple[Reason, ...]], titles: dict[str, str]) -> None:
    """Print a ranking as a table, with titles and reasons where there are any."""
    table = Table(title=f"bundle {ranking.bundle_id}", title_justify="left", title_style="dim", box=None)
    for heading in (
        "#",
        "item",
        *(["title"] if titles else []),
        "score",
        "P(click)",
        *(["moved by"] if reasons else []),
    ):
        table.add_column(heading, justify="right" if heading in ("#", "score", "P(click)") else "left")
    for place, item in enumerate(ranking.items, start=1):
        row = [str(place), escape(item.item_id)]
        row += [escape(titles.get(item.item_id, ""))] if titles else []
        row += [f"{item.score:.3f}", f"{item.click_probability:.1%}"]
        row += ["  ".join(map(phrase, reasons.get(item.item_id, ())))] if reasons else []
        table.add_row(*row)
    console.print(table)
    spent = "  ".join(f"{stage} {seconds * 1e3:.1f} ms" for stage, seconds in ranking.stage_seconds.items())
    missing = f"  unknown: {escape(', '.join(ranking.unknown_items))}" if ranking.unknown_items else ""
    console.print(f"[dim]request {escape(ranking.request_id)}[/]")
    if ranking.degraded:
        console.print(f"[yellow]degraded: {', '.join(ranking.degraded)}[/]")
    if ranking.rung_reason is not None:
        console.print(f"[yellow]rung {ranking.rung}, for {ranking.rung_reason}[/]")
    console.print(f"[dim]text for {ranking.text_coverage:.0%} of the items{missing}  {spent}[/]")


def phrase(reason: Reason) -> str:
    """Say a reason in a few coloured words."""
    colour = "green" if reason.effect > 0 else "red"
    return f"[{colour}]{reason.effect:+.2f}[/] {reason.feature}"


def _history(clicked: list[str] | None) -> tuple[HistoryEntry, ...] | None:
    return None if clicked is None else tuple(HistoryEntry(item_id=item) for item in clicked)
