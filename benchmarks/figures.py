"""What every benchmark says at its end: a table for people, the same figures as JSON for scripts."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from recsys.doctor import diagnose
from recsys.files import write_file

ROOT = Path(__file__).resolve().parents[1]
console = Console()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number; ``says`` is for the table only, and what is not ``shown`` stands in the JSON alone."""

    value: float
    unit: str
    says: str = ""
    shown: bool = True


def arguments(description: str) -> argparse.ArgumentParser:
    """Begin a benchmark's command line: ``--quick`` and ``--json``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser


def tell(title: str, figures: Mapping[str, Figure], file: Path | None) -> None:
    """Print the figures, and write them where asked."""
    told = {
        "figures": {name: {"value": figure.value, "unit": figure.unit} for name, figure in figures.items()},
        "hardware": hardware(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    table = Table(title=title, caption=f"{told['hardware']}\n{told['date']}, commit {told['commit']}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("what it is", style="dim")
    for name, figure in figures.items():
        if not figure.shown:
            continue
        table.add_row(
            name, f"{figure.value:,.4g}" if figure.value < 1_000 else f"{figure.value:,.0f}", figure.unit, figure.says
        )
    console.print(table)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, (json.dumps(told, indent=1) + "\n").encode())


def hardware() -> str:
    """Name the processor, cores, memory and GPU of this machine, and the libraries that matter most."""
    found = {finding.name: finding for finding in diagnose()}
    parts = [found["processor"].value, f"{found['cores'].value} cores", found["memory"].value]
    if (gpu := found["gpu"]).value == "used":
        parts.append(gpu.remark)
    libraries = ("numpy", "lightgbm", "grpcio", *(("torch", "onnxruntime-gpu") if gpu.value == "used" else ()))
    versions = [f"{name} {found[name].value}" for name in libraries if name in found]
    return ", ".join([*parts, f"Python {platform.python_version()}", *versions])


def commit() -> str:
    """Name the commit measured, with a + when the tree holds changes; "unknown" outside of a git checkout."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def ask(*words: str) -> str:
        done = subprocess.run([git, "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = ask("rev-parse", "--short=12", "HEAD")
    return (head + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")) if head else "unknown"
