"""One receipt looked into again: what its own bundle makes of it now, and what another one would have made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsys.agreement import kendall_tau, top_overlap
from recsys.errors import ConfigError
from recsys.pipeline import RankingPipeline
from recsys.receipt import Receipt
from recsys.schema import RankedItem, Ranking, Reason, Rung
from recsys.scored import best_first
from serving.data_directory import RECEIPTS
from serving.receipt_log import ReceiptLog
from serving.receipt_rows import Kept, Run
from serving.recomputation import Logs, Recomputation

_TOP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A ranking made again of its receipt's table, with reasons and titles by item id.

    ``faults`` say what was answered otherwise.
    """

    ranking: Ranking
    reasons: Mapping[str, tuple[Reason, ...]]
    titles: Mapping[str, str]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two orders of all candidates, best first, and the scores by item id; ``top`` is the k of ``overlap``."""

    answered: tuple[str, ...]
    other: tuple[str, ...]
    answered_scores: Mapping[str, float]
    other_scores: Mapping[str, float]
    titles: Mapping[str, str]
    top: int
    overlap: float
    kendall_tau: float


def find_receipts(data: Path, request_id: str) -> list[Kept]:
    """Return the receipts of a request id, oldest first.

    Raises:
        ConfigError: there is none.
        StorageError: the file cannot be used.
    """
    if not (data / RECEIPTS).is_file():
        raise ConfigError(f"{data} holds no receipts; name the data directory of a server that runs with --receipts")
    log = ReceiptLog(data / RECEIPTS)
    try:
        found = log.named(request_id)
    finally:
        log.close()
    if not found:
        raise ConfigError(
            f"{data} holds no receipt of request {request_id!r}; only a share of the rankings leave one (--receipts), "
            "and the oldest go; give the answer's own request_id, not the pseudonym that the log may have of it"
        )
    return found


def replay_own(receipt: Receipt, bundle: Path) -> Replayed:
    """Score a receipt's table by the bundle that answered, and compare with the answer bit by bit.

    Raises:
        BundleError: the bundle is damaged.
    """
    pipeline = RankingPipeline.load(bundle)
    ids = [candidate.item_id for candidate in receipt.request.candidates]
    scores, probabilities = pipeline.score(receipt)
    order = best_first(ids, scores)[: receipt.request.top_k or len(ids)]
    again = tuple(ids[place] for place in order)
    faults = []
    if not np.array_equal(scores, receipt.scores):
        apart = np.abs(scores - receipt.scores)
        faults.append(f"{int((apart > 0).sum())} of {len(ids)} scores differ, by {apart.max():.3g} at most")
    if again != receipt.order:
        faults.append(f"the order differs: answered {', '.join(receipt.order)}")
    # On a lower rung another model may have scored, and callers are given no reasons either.
    told = pipeline.reasons(receipt.table) if ids and receipt.rung is Rung.FULL else [()] * len(ids)
    return Replayed(
        ranking=Ranking(
            request_id=receipt.request.request_id,
            bundle_id=receipt.bundle_id,
            items=tuple(
                RankedItem(item_id=ids[i], score=float(scores[i]), click_probability=float(probabilities[i]))
                for i in order
            ),
            text_coverage=receipt.text_coverage,
            items_without_text=receipt.items_without_text,
            degraded=receipt.degraded,
            rung=receipt.rung,
            rung_reason=receipt.rung_reason,
            state_versions=receipt.state_versions,
        ),
        reasons=dict(zip(ids, told, strict=True)),
        titles=_titles(receipt, pipeline),
        faults=tuple(faults),
    )


def replay_other(receipt: Receipt, bundle: Path, data: Path) -> Compared:
    """Rank a receipt's request by another bundle, which knows the events and the items that the answer knew.

    Raises:
        ConfigError: the receipt knows another event log than the data directory's.
        BundleError: the bundle is damaged.
        StorageError: a file cannot be used.
    """
    logs = Logs.open(data)
    try:
        if set(receipt.state_versions) != {logs.name}:
            raise ConfigError(
                f"the receipt knows the event logs {', '.join(receipt.state_versions) or '(none)'}, {data} holds "
                f"{logs.name}; name the data directory of the server that answered"
            )
        items = receipt.item_sequence
        if items is None:  # they were changing: those recorded before the request came
            changes = logs.items.as_of(logs.items.sequence)
            items = max((change.sequence for change in changes if change.recorded_us < receipt.time_us), default=0)
        made = Recomputation(bundle, logs)
        try:
            made.begin(Run(bundle_id=bundle.name, snapshot=0, events=receipt.state_versions[logs.name], items=items))
            table = made.table(receipt.request, rung=receipt.rung)
            scores, _ = made.pipeline.score(replace(receipt, table=table))
            return _compared(receipt, scores, _titles(receipt, made.pipeline))
        finally:
            made.close()
    finally:
        logs.close()


def _compared(
    receipt: Receipt, scores: np.ndarray[tuple[int], np.dtype[np.float64]], titles: dict[str, str]
) -> Compared:
    ids = [candidate.item_id for candidate in receipt.request.candidates]
    answered = tuple(ids[place] for place in best_first(ids, receipt.scores))
    other = tuple(ids[place] for place in best_first(ids, scores))
    top = min(receipt.request.top_k or _TOP, len(ids))
    return Compared(
        answered=answered,
        other=other,
        answered_scores=dict(zip(ids, receipt.scores.tolist(), strict=True)),
        other_scores=dict(zip(ids, scores.tolist(), strict=True)),
        titles=titles,
        top=top,
        overlap=top_overlap(answered, other, top),
        kendall_tau=kendall_tau(answered, other),
    )


def _titles(receipt: Receipt, pipeline: RankingPipeline) -> dict[str, str]:
    """Return the candidates' titles: those of the bundle's items, else those that came with the request."""
    sent = {each.item_id: each.text.title for each in receipt.request.candidates if each.text is not None}
    ids = [candidate.item_id for candidate in receipt.request.candidates]
    rows = pipeline.catalog.rows(ids)
    known = [item_id for item_id, row in zip(ids, rows, strict=True) if row >= 0]
    texts = pipeline.catalog.texts(rows[rows >= 0].tolist())
    return {**sent, **{item_id: text.title for item_id, text in zip(known, texts, strict=True)}}
