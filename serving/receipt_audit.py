"""Checks receipts: whether what was scored is what the logs say should have been known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.errors import ConfigError, RegistryError
from recsys.features.table import TEXT_COLUMNS
from recsys.receipt import Receipt
from serving.data_directory import RECEIPTS
from serving.receipt_log import ReceiptLog
from serving.receipt_rows import Kept, Run
from serving.recomputation import Logs, Recomputation

# How far a text output may be from the one that was scored: another processor may sum in another order.
TEXT_TOLERANCE = 1e-5
# How long after its list was shown a request may have come: callers' clocks are not the server's.
CLOCK_TOLERANCE_US = 60_000_000
# What is compared beside the ranker's columns: what came of the table that was scored.
SCORE = "(score)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """How often a feature was scored with another value than the logs give: of all, how far at most, and where first.

    ``largest`` is the largest difference, NaN where one of both was missing.
    """

    feature: str
    count: int
    of: int
    largest: float
    first: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What came of comparing ``receipts`` receipts of ``values`` figures; ``left_out`` counts the others by reason.

    ``early`` are request ids whose list was shown, by its event, before the server's clock says that it was asked for.
    """

    receipts: int
    values: int
    mismatches: tuple[Mismatch, ...]
    early: tuple[str, ...]
    left_out: Mapping[str, int]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.mismatches and not self.early


def audit(
    data: Path,
    bundle_of: Callable[[str], Path],
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Audit:
    """Compute the tables of receipts anew from the logs, and compare them figure by figure.

    Args:
        data: a server's data directory; the server may be running.
        bundle_of: names the directory of a bundle's id; raises RegistryError where there is none.
        limit: the newest receipts only, so many at most.
        progress: is told how many of how many receipts are done.

    Raises:
        ConfigError: there are no receipts, or there is no event log.
        StorageError: a file cannot be used.
        BundleError: a bundle is damaged.
    """
    if not (data / RECEIPTS).is_file():
        raise ConfigError(f"{data} holds no receipts; name the data directory of a server that runs with --receipts")
    logs, receipts = Logs.open(data), ReceiptLog(data / RECEIPTS)
    try:
        return _Auditor(logs, receipts, bundle_of, limit, progress).audit()
    finally:
        receipts.close()
        logs.close()


@dataclass
class _Tally:
    """The findings about one feature."""

    count: int = 0
    of: int = 0
    largest: float = 0.0
    first: str = ""


@dataclass
class _Auditor:
    logs: Logs
    receipts: ReceiptLog
    bundle_of: Callable[[str], Path]
    limit: int | None
    progress: Callable[[int, int], None]
    compared: int = 0
    tallies: dict[str, _Tally] = field(default_factory=dict)
    early: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def audit(self) -> Audit:
        since = self.receipts.since(self.limit)
        total = self.receipts.count(since)
        for kept, made in self._recomputed(since):
            self._compare(kept.receipt, made)
            self._look_at_the_clock(kept)
            self.compared += 1
            self.progress(self.compared, total)
        others, amid = self.receipts.beyond(self.logs.name, since)
        self.left_out["know another event log, or several"] += others
        self.left_out["items changed while they were ranked"] += amid
        return Audit(
            receipts=self.compared,
            values=sum(tally.of for tally in self.tallies.values()),
            mismatches=tuple(
                Mismatch(feature=name, count=tally.count, of=tally.of, largest=tally.largest, first=tally.first)
                for name, tally in self.tallies.items()
                if tally.count
            ),
            early=tuple(self.early),
            left_out={reason: count for reason, count in self.left_out.items() if count},
        )

    def _recomputed(self, since: int) -> Iterator[tuple[Kept, Recomputation]]:
        """Yield the receipts in the order of what they know, each with a bundle that knows just that."""
        made: Recomputation | None = None
        bundle_id = ""
        for number, run in self.receipts.runs():
            if run.bundle_id != bundle_id or made is None:
                if made is not None:
                    made.close()
                bundle_id, made = run.bundle_id, self._load(run)
            if made is not None:
                made.begin(run)
            for kept in self.receipts.of_run(number, self.logs.name, since):
                receipt = kept.receipt
                if made is None:
                    self.left_out[f"of bundle {run.bundle_id}, which the registry does not have"] += 1
                elif receipt.degraded:
                    self.left_out["ranked without what they should have known"] += 1
                else:
                    made.advance(receipt.state_versions[self.logs.name], receipt.item_sequence or 0)
                    yield kept, made
        if made is not None:
            made.close()

    def _load(self, run: Run) -> Recomputation | None:
        try:
            return Recomputation(self.bundle_of(run.bundle_id), self.logs, self.receipts.known_at)
        except RegistryError:
            return None

    def _compare(self, receipt: Receipt, made: Recomputation) -> None:
        names = made.pipeline.ranker.names
        table = made.table(receipt.request, (receipt.items_without_text, receipt.attended_without_text), receipt.rung)
        scores, _ = made.pipeline.score(receipt)
        for place, name in enumerate(names):
            tolerance = TEXT_TOLERANCE if place < len(TEXT_COLUMNS) else 0.0
            self._tell(name, receipt, receipt.table[:, place], table[:, place], tolerance)
        self._tell(SCORE, receipt, receipt.scores, scores, 0.0)

    def _tell(
        self,
        name: str,
        receipt: Receipt,
        scored: npt.NDArray[np.floating],
        right: npt.NDArray[np.floating],
        tolerance: float,
    ) -> None:
        tally = self.tallies.setdefault(name, _Tally())
        tally.of += scored.size
        apart = np.abs(scored.astype(np.float64) - right)
        wrong = ~((apart <= tolerance) | (scored == right) | (np.isnan(scored) & np.isnan(right)))
        if wrong.any():
            tally.first = tally.first or receipt.request.request_id
            tally.count += int(wrong.sum())
            tally.largest = float(np.maximum(tally.largest, apart[wrong].max()))

    def _look_at_the_clock(self, kept: Kept) -> None:
        """Note a request that came after its list was shown; one that is sent again later is none."""
        request_id = kept.receipt.request.request_id
        shown_us = self.logs.shown_us(request_id)
        if shown_us is None or kept.receipt.time_us <= shown_us + CLOCK_TOLERANCE_US:
            return
        if self.receipts.named(request_id)[0].sequence == kept.sequence:
            self.early.append(request_id)
