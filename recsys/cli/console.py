"""How the command line speaks: tables, progress bars with the time left, JSON files, and errors with their remedy."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from recsys.errors import DatasetError
from recsys.files import write_file

# Of several processes that train together (torchrun), the first one speaks; a RANK alone may be anybody's variable.
console = Console(quiet="MASTER_ADDR" in os.environ and os.environ.get("RANK", "0") != "0")
errors = Console(stderr=True)


def fail(error: Exception) -> NoReturn:
    """Show an error and leave with exit code 1."""
    title = "The dataset cannot be used" if isinstance(error, DatasetError) else type(error).__name__
    errors.print(Panel(Text(str(error)), title=title, border_style="red", title_align="left"))
    sys.exit(1)


def write_json(path: Path | None, value: Any) -> None:
    """Write a result for scripts, where one was asked for."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


class StageProgress:
    """A bar per stage of a job; a stage is done when the next one begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, share: float, remark: str) -> None:
        """Move a stage's bar; ``share`` is between 0 and 1."""
        if stage not in self._tasks:
            for earlier in self._tasks.values():
                self._progress.update(earlier, completed=1.0)
            self._tasks[stage] = self._progress.add_task(stage, total=1.0, remark="")
        self._progress.update(self._tasks[stage], completed=share, remark=remark)


@contextmanager
def stages() -> Iterator[StageProgress]:
    """Show a job's stages while the block runs."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description:<16}"), BarColumn(),
        TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("[dim]{task.fields[remark]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        told = StageProgress(progress)
        yield told
        for task in progress.task_ids:
            progress.update(task, completed=1.0)


class CountProgress:
    """One bar that is told how many of how many are done."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def counting(title: str) -> Iterator[CountProgress]:
    """Show one counted job while the block runs."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description:<16}"), BarColumn(),
        MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield CountProgress(progress, title)
