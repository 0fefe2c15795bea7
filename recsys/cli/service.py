"""`recsys serve` and `recsys doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from recsys.cli.console import console, write_json
from recsys.cli.data import JsonOption

if TYPE_CHECKING:
    from serving.config import ServerConfig


def serve(
    registry: Annotated[Path, typer.Argument(help="A registry for its current bundle, or one bundle.")],
    data: Annotated[
        Path | None, typer.Option(help="Directory of what the server is told", show_default="live in the registry")
    ] = None,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="Keep nothing: events are refused, items change in memory only.")
    ] = False,
    receipts: Annotated[
        float | None, typer.Option(help="Share of rankings that leave a receipt, 0 to 1", show_default="0.01")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="0 lets the system choose", show_default="50051")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port", show_default="1")] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Rankings computed at once, by each worker", show_default="its share of the cores"),
    ] = None,
    grace: Annotated[
        float | None, typer.Option(help="Seconds for accepted requests on SIGTERM", show_default="10")
    ] = None,
    ladder: Annotated[
        bool | None, typer.Option(help="Answer with less where there is no time for all of it", show_default="ladder")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="redis://HOST:PORT/DB, where servers share what people did", show_default="none")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Where Prometheus finds /metrics, usually 9464", show_default="not served")
    ] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Where `recsys status` may ask, usually 50052", show_default="nowhere")
    ] = None,
    reflection: Annotated[
        bool | None, typer.Option(help="Let grpcurl ask for the methods", show_default="in development")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="production: only TLS, and only known callers", show_default="development")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="The server's certificate, PEM", show_default="none")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM", show_default="none")] = None,
) -> None:
    """Serve rankings over gRPC; each option can be an environment variable too, such as RECSYS_PORT."""
    from serving.config import ServerConfig  # noqa: PLC0415

    given = {
        "registry": registry, "data": data, "receipts": receipts, "host": host, "port": port,
        "threads": threads, "workers": workers, "grace_s": grace, "ladder": ladder, "store": store,
        "reflection": reflection, "mode": mode, "tls_certificate": tls_certificate, "tls_key": tls_key,
        "metrics_port": metrics_port, "admin_port": admin_port,
    }  # fmt: skip
    config = ServerConfig.read(**{name: value for name, value in given.items() if value is not None})
    if data is not None and no_data:
        raise typer.BadParameter("--data and --no-data contradict each other")
    config = config.model_copy(update={"data": None if no_data else config.data or usual_data(registry)})
    _run(config)


def _run(config: ServerConfig) -> None:
    if config.workers > 1:
        from serving.workers import run_workers  # noqa: PLC0415

        run_workers(config, [sys.executable, "-m", "recsys.cli", "worker"])
    else:
        _serve(config)


def usual_data(registry: Path) -> Path | None:
    """Return where what a server is told lies, unless something else is said."""
    # A bundle by itself holds nothing but its files, so nothing is put into it.
    return registry / "live" if (registry / "bundles").is_dir() else None


def worker() -> None:
    """Serve as one of several workers; `recsys serve --workers` starts them, with all settings in the environment."""
    from serving.config import ServerConfig  # noqa: PLC0415

    _serve(ServerConfig.read())


def _serve(config: ServerConfig) -> None:
    from serving.process import run_server  # noqa: PLC0415 - gRPC is imported by it, not earlier

    run_server(config)


def pseudonym(
    name: Annotated[str, typer.Argument(help="The id, such as a request's.")],
    key: Annotated[Path, typer.Option(help="The server's RECSYS_LOG_KEY file.")],
) -> None:
    """Print what stands in the log of a server instead of an id."""
    from serving.pseudonyms import Pseudonyms  # noqa: PLC0415

    console.print(Pseudonyms.read(key).of(name))


def doctor(json_file: JsonOption = None) -> None:
    """Say what this machine will use, and why not more: GPU, providers, versions, processor."""
    from recsys.doctor import diagnose  # noqa: PLC0415

    findings = diagnose()
    table = Table("", "found", "what follows", box=None)
    for finding in findings:
        table.add_row(f"[bold]{finding.name}[/]", finding.value, f"[dim]{finding.remark}[/]")
    console.print(table)
    write_json(json_file, [{"name": f.name, "value": f.value, "remark": f.remark} for f in findings])
