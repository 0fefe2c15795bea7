"""`recsys replay` and `recsys audit`: rankings looked into again, by their receipts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from recsys.cli.ask import show_ranking
from recsys.cli.console import console, counting, write_json
from recsys.cli.data import JsonOption
from recsys.errors import RegistryError
from recsys.registry import Registry

DataOption = Annotated[Path, typer.Option("--data", help="The server's data directory; it may be running.")]
RegistryOption = Annotated[Path, typer.Option("--registry", help="The registry with the bundles, or one bundle.")]


def replay(
    request_id: Annotated[str, typer.Argument(help="The ranking's request id.")],
    data: DataOption,
    registry: RegistryOption,
    bundle: Annotated[str, typer.Option("--bundle", help="Another bundle's id: what would it have answered?")] = "",
    number: Annotated[int, typer.Option("--number", help="Which receipt, where the id has several.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Make a ranking again from its receipt, by the bundle that answered or by another one."""
    from serving.receipt_replay import find_receipts, replay_other, replay_own  # noqa: PLC0415

    found = {kept.sequence: kept.receipt for kept in find_receipts(data, request_id)}
    chosen = number or max(found)
    if chosen not in found:
        raise typer.BadParameter(f"request {request_id} has the receipts {', '.join(map(str, found))}")
    if len(found) > 1:
        console.print(f"[dim]receipt {chosen}; the id has {', '.join(map(str, found))}[/]")
    receipt = found[chosen]
    if bundle:
        with console.status("ranking by the other bundle"):
            compared = replay_other(receipt, bundle_path(registry, bundle), data)
        table = Table(
            "#", "item", "title", "score", "#", "score", "moved", box=None,
            title=f"bundle {receipt.bundle_id}, then {bundle}", title_justify="left", title_style="dim",
        )  # fmt: skip
        place = {item: rank for rank, item in enumerate(compared.other, start=1)}
        for rank, item in enumerate(compared.answered, start=1):
            moved = rank - place[item]
            table.add_row(
                str(rank), escape(item), escape(compared.titles.get(item, "")), f"{compared.answered_scores[item]:.3f}",
                str(place[item]), f"{compared.other_scores[item]:.3f}",
                f"[green]up {moved}[/]" if moved > 0 else f"[red]down {-moved}[/]" if moved else "[dim]-[/]",
            )  # fmt: skip
        console.print(table)
        console.print(
            f"top {compared.top}: {compared.overlap:.0%} in common; Kendall's tau {compared.kendall_tau:+.3f}"
        )
        write_json(
            json_file, {"request_id": request_id, "bundle_id": receipt.bundle_id, "other": bundle, **asdict(compared)}
        )
        return
    replayed = replay_own(receipt, bundle_path(registry, receipt.bundle_id))
    show_ranking(replayed.ranking, {item: why[:3] for item, why in replayed.reasons.items()}, dict(replayed.titles))
    if replayed.faults:
        console.print(f"[red]✗[/] answered otherwise: {escape('; '.join(replayed.faults))}")
    else:
        console.print("[green]✓[/] the very order and scores that were answered, bit by bit")
    write_json(json_file, {**asdict(replayed), "exact": not replayed.faults})
    if replayed.faults:
        raise typer.Exit(1)


def audit(
    data: DataOption,
    registry: RegistryOption,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest receipts only.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Compute anew, from the raw logs, what receipts say was scored; exit code 1 where they differ."""
    from serving.receipt_audit import audit as check  # noqa: PLC0415

    with counting("audit") as progress:
        found = check(data, lambda bundle_id: bundle_path(registry, bundle_id), limit=limit, progress=progress)
    table = Table("feature", "wrong", "of", "share", "by up to", "first in", box=None)
    for each in sorted(found.mismatches, key=lambda each: -each.count):
        table.add_row(
            each.feature, f"{each.count:,}", f"{each.of:,}", f"{each.count / each.of:.2%}", f"{each.largest:.3g}",
            escape(each.first),
        )  # fmt: skip
    if found.mismatches:
        console.print(table)
    if found.early:
        console.print(
            f"[red]✗[/] {len(found.early):,} lists were shown before they were asked for, such as that of "
            f"{escape(found.early[0])}: the server's clock, or that of who tells the events, is wrong"
        )
    wrong = sum(each.count for each in found.mismatches)
    sign = "[green]✓[/]" if found.passed else "[red]✗[/]"
    console.print(f"{sign} {found.receipts:,} receipts, {found.values:,} values compared: {wrong:,} mismatches")
    for reason, count in found.left_out.items():
        console.print(f"[dim]{count:,} left out: {reason}[/]")
    write_json(json_file, {**asdict(found), "passed": found.passed})
    if not found.passed:
        raise typer.Exit(1)


def bundle_path(registry: Path, bundle_id: str) -> Path:
    """Return the directory of a bundle in a registry, which may be that bundle itself.

    Raises:
        RegistryError: it is not there.
    """
    if (registry / "bundles").is_dir():
        return Registry(registry).path(bundle_id)
    if registry.resolve().name != bundle_id:
        raise RegistryError(f"{registry} is not bundle {bundle_id}; name the registry that has it")
    return registry
