"""One batch-scoring job: a table in, shards out; interrupted, it goes on with the shards that are missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from recsys.errors import ConfigError, DatasetError, Fault
from training.shards import Shards, file_sha256
from training.stored_table import Form, open_table

Progress = Callable[[int, int], None]
"""Told rows done and rows in all; the first call counts what was there already, so time only what comes after it."""

SCRATCH = ".input.parquet"

Tell = Callable[[int], None]
"""Told how many more rows are done."""

ScorePart = Callable[[pl.DataFrame, Tell], pl.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a job left in its directory, and how fast this run was; ``shards_kept`` were there already."""

    bundle_id: str
    rows: int
    shards: int
    shards_kept: int
    seconds: float
    rows_per_second: float

    def __str__(self) -> str:
        """Say it in one line."""
        kept = f" ({self.shards_kept:,} of them there already)" if self.shards_kept else ""
        pace = f", {self.rows_per_second:,.0f} rows/s" if self.rows_per_second else ""
        return f"{self.rows:,} rows in {self.shards:,} shards{kept} by bundle {self.bundle_id}{pace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """What is to be scored, with what, to where."""

    kind: str
    form: Form
    bundle_id: str
    file: Path
    out: Path
    shard_rows: int

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise ConfigError(f"shard_rows is {self.shard_rows}; give at least 1")
        if not self.file.is_file():
            raise DatasetError([self._fault("no such file", "name a .parquet, .csv or .jsonl file")])

    def state(self) -> tuple[int, int]:
        """Tell the input's size and time of change."""
        found = self.file.stat()
        return found.st_size, found.st_mtime_ns

    def refuse_change(self, state: tuple[int, int]) -> None:
        """Refuse an input that somebody has rewritten since it was hashed and checked."""
        if self.state() != state:
            raise DatasetError([self._fault("changed while it was scored", "start again in a new directory")])

    def _fault(self, problem: str, remedy: str) -> Fault:
        return Fault(file=self.file.name, column="", row=0, problem=problem, remedy=remedy)


def run_job(
    job: ScoreJob, settings: Mapping[str, JsonValue], load: Callable[[], ScorePart], progress: Progress | None
) -> Scored:
    """Check the table unless that was done, then score the shards that are not there."""
    state = job.state()
    identity = {
        "kind": job.kind,
        "bundle_id": job.bundle_id,
        "input_sha256": file_sha256(job.file),
        "shard_rows": job.shard_rows,
        **settings,
    }
    shards = Shards(job.out, identity)
    begun = shards.begun()
    with open_table(job.file, job.form, job.out / SCRATCH) as table:
        if not begun:
            table.check(job.shard_rows)
            job.refuse_change(state)
            shards.begin()
        starts = range(0, table.rows, job.shard_rows)
        missing = [
            number
            for number, start in enumerate(starts)
            if not shards.holds(number, min(job.shard_rows, table.rows - start))
        ]
        pace = _Pace(table.rows, _rows_of(missing, job.shard_rows, table.rows), progress)
        if missing:
            shards.reopen()
            score = load()
            pace.start()
        for number in missing:
            frame = score(table.part(starts[number], job.shard_rows), pace.tell)
            job.refuse_change(state)
            shards.write(number, frame)
        shards.finish({"rows": table.rows, "shards": len(starts)})
        return Scored(
            bundle_id=job.bundle_id,
            rows=table.rows,
            shards=len(starts),
            shards_kept=len(starts) - len(missing),
            seconds=pace.seconds,
            rows_per_second=pace.rows_per_second,
        )


def _rows_of(numbers: list[int], size: int, rows: int) -> int:
    return sum(min(size, rows - number * size) for number in numbers)


class _Pace:
    """Counts the rows that this run scores, and the time it takes them."""

    def __init__(self, rows: int, ahead: int, progress: Progress | None) -> None:
        self._rows, self._kept, self._done, self._progress = rows, rows - ahead, 0, progress
        self.start()
        self.tell(0)

    def start(self) -> None:
        """Start the clock, once everything is loaded."""
        self._started = time.perf_counter()

    def tell(self, rows: int) -> None:
        """Count some more rows as done."""
        self._done += rows
        if self._progress is not None:
            self._progress(self._kept + self._done, self._rows)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def rows_per_second(self) -> float:
        """How fast this run has been so far."""
        return self._done / self.seconds if self._done else 0.0
