"""`recsys server swap|rollback|shadow|variants`: tell a running server which bundle answers whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.access import CaOption, CertificateOption, KeyOption, TokenOption, access
from recsys.cli.console import console

if TYPE_CHECKING:
    from serving.admin_client import AdminClient

app = typer.Typer(help="Tell a running server, started with --admin-port, which bundle answers.", no_args_is_help=True)

AddressOption = Annotated[str, typer.Option("--address", help="Where the server listens for operators.")]
BundleArgument = Annotated[str, typer.Argument(help="A version of the registry; none ends it.")]

ADDRESS = "127.0.0.1:50052"


def open_admin(
    address: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None
) -> AdminClient:
    """Return a client with the credentials that the options name."""
    from serving.admin_client import AdminClient  # noqa: PLC0415

    return AdminClient(address, **access(ca, certificate, key, token_file))


@app.command()
def swap(
    address: AddressOption = ADDRESS,
    any_order: Annotated[
        bool, typer.Option("--any-order", help="Take it however differently it orders recent requests.")
    ] = False,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
) -> None:
    """Take the registry's current bundle now, also where the server has refused it before."""
    with open_admin(address, ca, certificate, key, token_file) as admin, console.status("preparing the bundle"):
        serving, before = admin.swap(any_order=any_order)
    what = "served already" if serving == before else f"serves; before it, {before} did"
    console.print(f"[green]✓[/] {serving} {what}")


@app.command()
def rollback(
    address: AddressOption = ADDRESS,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
) -> None:
    """Go back to the bundle that served before; the registry stays as it is."""
    with open_admin(address, ca, certificate, key, token_file) as admin, console.status("going back"):
        serving = admin.rollback()
    console.print(f"[green]✓[/] {serving} serves again, until another bundle is promoted")


@app.command()
def shadow(
    bundle_id: BundleArgument = "",
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the requests.")] = 0.1,
    address: AddressOption = ADDRESS,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
) -> None:
    """Have a bundle rank a share of the requests too, to compare; `recsys status` says what comes of it."""
    with open_admin(address, ca, certificate, key, token_file) as admin, console.status("preparing the bundle"):
        admin.set_shadow(bundle_id, share if bundle_id else 0.0)
    console.print(f"[green]✓[/] {bundle_id} is the shadow of {share:.0%}" if bundle_id else "[green]✓[/] no shadow")


@app.command()
def variants(
    named: Annotated[
        list[str] | None, typer.Argument(help="NAME=BUNDLE_ID:SHARE each; without BUNDLE_ID, whichever serves.")
    ] = None,
    salt: Annotated[str, typer.Option(help="The word by which users are divided.")] = "",
    address: AddressOption = ADDRESS,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
) -> None:
    """Divide the users between bundles, in place of all former variants; without any, end them."""
    from serving.variants import variants_of_text  # noqa: PLC0415

    wanted = variants_of_text(",".join(named or ()), salt)
    with open_admin(address, ca, certificate, key, token_file) as admin, console.status("preparing the bundles"):
        admin.set_variants(wanted)
    names = ", ".join(f"{each.name} ({each.share:.0%})" for each in wanted.variants)
    console.print(f"[green]✓[/] variants: {names or 'none'}")
