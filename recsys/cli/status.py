"""`recsys status`: how a running server is doing."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from recsys.cli.access import CaOption, CertificateOption, KeyOption, TokenOption
from recsys.cli.console import console, write_json
from recsys.cli.data import JsonOption
from recsys.cli.server import ADDRESS, open_admin

if TYPE_CHECKING:
    from serving.report import ServerReport
    from serving.swap_report import Swapped, SwapReport

_EVERY_S = 2.0
_GPU_SAID = {
    "resting": "[yellow]out of memory, the CPU stands in for a while[/]",
    "lost": "[red]lost, the CPU stands in until the server is restarted[/]",
}


def status(
    address: Annotated[str, typer.Argument(help="Where the server listens for operators.")] = ADDRESS,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again every two seconds, until Ctrl-C.")] = False,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
    json_file: JsonOption = None,
) -> None:
    """Say how a running server is doing; it has to be started with --admin-port."""
    with open_admin(address, ca, certificate, key, token_file) as client:
        report = client.status()
        if watch:
            report = _watch(client.status, report)
        else:
            console.print(_shown(report))
    write_json(json_file, _plain(asdict(report)))


def _watch(ask: Any, report: ServerReport) -> ServerReport:
    """Show report after report; returns the last one."""
    with Live(_shown(report), console=console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(_EVERY_S)
                report = ask()
                live.update(_shown(report), refresh=True)
        except KeyboardInterrupt:
            return report


def _shown(report: ServerReport) -> Group:
    """Lay a report out: the server, then its methods."""
    facts = Table(show_header=False, box=None)
    for name, value in {**_facts(report), **_swaps(report.swaps)}.items():
        facts.add_row(name, value)
    calls = Table("method", box=None)
    for heading in ("calls, 5 min", "failed", "refused", "p50", "p99"):
        calls.add_column(heading, justify="right")
    for each in report.methods:
        share = each.failed / each.calls if each.calls else 0.0
        failed = f"[red]{share:.2%}[/]" if each.failed else "0"
        calls.add_row(each.method, f"{each.calls:,}", failed, f"{each.refused:,}", _ms(each.p50_s), _ms(each.p99_s))
    return Group(facts, calls) if report.methods else Group(facts)


def _facts(report: ServerReport) -> dict[str, str]:
    versions = "  ".join(f"{log}: {sequence:,}" for log, sequence in report.state_versions.items())
    degraded = "  ".join(f"{reason}: {count:,}" for reason, count in report.degraded.items())
    shed = "  ".join(f"{reason}: {count:,}" for reason, count in report.shed.items())
    loaded = f"[dim]code {report.code_version}, loaded in {report.load_s:.1f} s[/]"
    promoted = f"  [yellow]{report.current_bundle_id} is promoted, and not served[/]"
    return {
        "bundle": (report.bundle_id or "[yellow]loading[/]")
        + (promoted if report.current_bundle_id not in ("", report.bundle_id) else ""),
        "rollback to": report.swaps.before or "none",
        "running for": f"{_duration(report.uptime_s)}  {loaded}",
        "state": f"{_duration(report.state_age_s)} old, {report.store.replace('_', ' ')}  [dim]{versions}[/]",
        "event log": f"{report.event_log_sequence:,}",
        "in flight": f"{report.in_flight:,}, of which {report.queue_length:,} wait",
        "pending texts": f"{report.pending_texts:,}",
        "degraded": degraded or "none",
        "gpu": _GPU_SAID.get(report.gpu, report.gpu)
        + (f"  [red]failed {report.gpu_faults:,} times[/]" if report.gpu_faults else ""),
        "refused, too many": shed or "none",
        "memory": f"{report.memory_bytes / 2**20:,.0f} MiB",
    }


def _swaps(swaps: SwapReport) -> dict[str, str]:
    """Say what is known of the bundles beside the one that serves; nothing where there is nothing to say."""
    beside = {each.bundle_id: ", ".join(each.roles) for each in swaps.loaded if each.roles != ("serving",)}
    loaded = "  ".join(f"{bundle_id}: {roles}" for bundle_id, roles in beside.items())
    variants = "  ".join(f"{each.name}: {each.bundle_id or 'who serves'}, {each.share:.0%}" for each in swaps.variants)
    shadow = ""
    if (found := swaps.shadow) is not None:
        shadow = (
            f"{found.bundle_id}: {found.ranked:,} ranked, {found.dropped:,} left out, {found.failed:,} failed; "
            f"first ten {found.top_overlap:.0%} alike, Kendall's tau {found.kendall_tau:.2f}, "
            f"p50 {_ms(found.p50_s)} beside {_ms(found.answer_p50_s)}"
        )
    told = {
        "loaded": loaded,
        "preparing": swaps.preparing,
        "variants": variants,
        "shadow": shadow,
        "last swap": _event(swaps.last_swap),
        "last refusal": _event(swaps.last_refusal),
    }
    return {name: value for name, value in told.items() if value}


def _event(swapped: Swapped | None) -> str:
    if swapped is None:
        return ""
    ago = _duration(time.time() - swapped.time_us / 1e6)
    spent = f"{ago} ago, {swapped.seconds:.1f} s"
    return f"{swapped.bundle_id} after {swapped.from_bundle_id}, {spent}: {escape(swapped.reason)}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _ms(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds * 1e3:.1f} ms"


def _plain(value: Any) -> Any:
    """Put null for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
