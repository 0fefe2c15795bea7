"""`recsys serve` and `recsys doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from recsys.cli.console import console, write_json
from recsys.cli.data import JsonOption


def serve(
    registry: Annotated[Path, typer.Argument(help="A registry for its current bundle, or one bundle.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="0 lets the system choose  [default: 50051]")] = None,
    threads: Annotated[int | None, typer.Option(help="Rankings computed at once  [default: cores]")] = None,
    grace: Annotated[float | None, typer.Option(help="Seconds for accepted requests on SIGTERM  [default: 10]")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Directory for the event log  [default: live in the registry]")
    ] = None,
    reflection: Annotated[bool | None, typer.Option(help="Let grpcurl ask for the methods  [default: on]")] = None,
) -> None:
    """Serve rankings over gRPC; each option can be an environment variable too, such as RECSYS_PORT."""
    from serving.config import ServerConfig  # noqa: PLC0415
    from serving.server import run_server  # noqa: PLC0415

    given = {
        "registry": registry, "host": host, "port": port,
        "threads": threads, "grace_s": grace, "data": data, "reflection": reflection,
    }  # fmt: skip
    config = ServerConfig.read(**{name: value for name, value in given.items() if value is not None})
    if config.data is None and (registry / "bundles").is_dir():  # a bundle alone is sealed, so nothing is put into it
        config = config.model_copy(update={"data": registry / "live"})
    run_server(config)


def doctor(json_file: JsonOption = None) -> None:
    """Say what this machine will use, and why not more: GPU, providers, versions, processor."""
    from recsys.doctor import diagnose  # noqa: PLC0415

    findings = diagnose()
    table = Table("", "found", "what follows", box=None)
    for finding in findings:
        table.add_row(f"[bold]{finding.name}[/]", finding.value, f"[dim]{finding.remark}[/]")
    console.print(table)
    write_json(json_file, [{"name": f.name, "value": f.value, "remark": f.remark} for f in findings])
