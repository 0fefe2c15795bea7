"""`recsys bundle list|show|verify|promote|rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.json import JSON
from rich.markup import escape
from rich.table import Table

from recsys.bundle import read_manifest
from recsys.cli.console import console, write_json
from recsys.cli.data import JsonOption
from recsys.errors import RegistryError
from recsys.registry import Registry, resolve
from recsys.verification import verify as check

app = typer.Typer(help="Look at the versions of a registry, and choose the one in use.", no_args_is_help=True)

RegistryArgument = Annotated[Path, typer.Argument(help="The registry directory.")]
BundleArgument = Annotated[Path, typer.Argument(help="A bundle, or a registry for its current one.")]


@app.command("list")
def list_(registry: RegistryArgument, json_file: JsonOption = None) -> None:
    """List the versions, oldest first."""
    if not registry.is_dir():
        raise RegistryError(
            f"{registry} is no directory; make a registry with `recsys train DATASET --registry {registry}`"
        )
    versions = Registry(registry).versions()
    table = Table("", "bundle", "lists", "items", "size", "remark", box=None)
    for version in versions:
        window = version.manifest.window if version.manifest else None
        table.add_row(
            "[green]→[/]" if version.current else "", version.bundle_id,
            f"{window.lists:,}" if window else "", f"{window.items:,}" if window else "",
            f"{version.size / 1e6:.1f} MB" if window else "",
            f"[red]{escape(version.fault)}[/]" if version.fault else "current" if version.current else "",
        )  # fmt: skip
    console.print(table if versions else f"no versions in {registry}; make one with `recsys train`")
    write_json(json_file, [{"bundle_id": v.bundle_id, "current": v.current, "fault": v.fault} for v in versions])


@app.command()
def show(bundle: BundleArgument, json_file: JsonOption = None) -> None:
    """Show what a bundle says of itself."""
    manifest = read_manifest(resolve(bundle)).model_dump(mode="json", exclude={"golden"})
    console.print(JSON.from_data(manifest))
    write_json(json_file, manifest)


@app.command()
def verify(bundle: BundleArgument, json_file: JsonOption = None) -> None:
    """Check hashes and models, then load the bundle in a child process and compare its golden answers."""
    with console.status("verifying"):
        verdict = check(resolve(bundle))
    for step in verdict.checks:
        console.print(f"{'[green]✓[/]' if step.passed else '[red]✗[/]'} {step.name}: {escape(step.detail)}")
    checks = [{"name": step.name, "passed": step.passed, "detail": step.detail} for step in verdict.checks]
    write_json(json_file, {"ok": verdict.ok, "checks": checks})
    if not verdict.ok:
        raise typer.Exit(1)


@app.command()
def promote(registry: RegistryArgument, bundle_id: Annotated[str, typer.Argument(help="The version to use.")]) -> None:
    """Make a version the current one; servers of the registry follow."""
    Registry(registry).promote(bundle_id)
    console.print(f"[green]✓[/] {bundle_id} is current; servers take it in a few seconds, if it passes their checks")


@app.command()
def rollback(registry: RegistryArgument) -> None:
    """Return to the version that was current before; servers of the registry follow."""
    console.print(f"[green]✓[/] {Registry(registry).rollback()} is current again")
