"""Receipts as rows of their table, and back: JSON and compressed arrays, nothing that could run."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recsys.receipt import Receipt
from recsys.schema import Candidate, HistoryEntry, ItemText, RankRequest, Rung, RungReason

COLUMNS = (
    "run", "request_id", "time_us", "bundle_id", "log_name", "events", "items", "request", "answer", "figures",
)  # fmt: skip
_LEVEL = 1  # figures of one list are alike: more effort gains little


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """From where one run of a server goes on.

    Its bundle, up to where the snapshot that it took over knows the event log (0 without one), up to where it knows the
    log itself, and the number of the newest change of its items.
    """

    bundle_id: str
    snapshot: int
    events: int
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A receipt as it is kept: under its own number, of a run."""

    sequence: int
    run: int
    receipt: Receipt


def row_of(receipt: Receipt, run: int) -> list[Any]:
    """Return the row of a receipt; what it knows of the one log that it may be asked by has columns of its own."""
    versions = receipt.state_versions
    log_name, events = next(iter(versions.items())) if len(versions) == 1 else (None, None)
    answer = {
        "order": receipt.order,
        "text_coverage": receipt.text_coverage,
        "items_without_text": receipt.items_without_text,
        "attended_without_text": receipt.attended_without_text,
        "degraded": receipt.degraded,
        "rung": receipt.rung,
        "rung_reason": receipt.rung_reason,
        "state_versions": dict(versions),
        "columns": receipt.table.shape[1],
        "variant": receipt.variant,
    }
    figures = receipt.table.astype("<f4").tobytes() + receipt.scores.astype("<f8").tobytes()
    return [
        run, receipt.request.request_id, receipt.time_us, receipt.bundle_id, log_name, events, receipt.item_sequence,
        json.dumps(_told(receipt.request), ensure_ascii=False), json.dumps(answer, ensure_ascii=False),
        zlib.compress(figures, _LEVEL),
    ]  # fmt: skip


def receipt_of(row: Sequence[Any]) -> tuple[int, Receipt]:
    """Read the run and the receipt of a row.

    Raises:
        ValueError, KeyError, TypeError, zlib.error: the row is damaged.
    """
    run, _, time_us, bundle_id, _, _, items, request, answer, figures = row
    asked, told = _request(json.loads(request)), json.loads(answer)
    reason = told.get("rung_reason")
    rows, columns, raw = len(asked.candidates), int(told["columns"]), zlib.decompress(figures)
    table = np.frombuffer(raw, "<f4", rows * columns).reshape(rows, columns)
    return run, Receipt(
        request=asked,
        time_us=time_us,
        bundle_id=bundle_id,
        table=table.astype(np.float32),
        scores=np.frombuffer(raw, "<f8", rows, table.nbytes).astype(np.float64),
        order=tuple(told["order"]),
        text_coverage=told["text_coverage"],
        state_versions=told["state_versions"],
        item_sequence=items,
        items_without_text=tuple(told["items_without_text"]),
        attended_without_text=tuple(told["attended_without_text"]),
        degraded=tuple(told["degraded"]),
        variant=told.get("variant", ""),  # receipts of before there were variants do not say
        rung=Rung(told.get("rung", Rung.FULL)),  # receipts of old have none
        rung_reason=None if reason is None else RungReason(reason),
    )


def _told(request: RankRequest) -> dict[str, Any]:
    return asdict(request) | {"candidates": [asdict(candidate) for candidate in request.candidates]}


def _request(told: Mapping[str, Any]) -> RankRequest:
    history = told["history"]
    return RankRequest(
        **{
            **told,
            "candidates": tuple(
                Candidate(item_id=each["item_id"], text=_text(each["text"])) for each in told["candidates"]
            ),
            "history": None if history is None else tuple(HistoryEntry(**entry) for entry in history),
        }
    )


def _text(told: Mapping[str, Any] | None) -> ItemText | None:
    return None if told is None else ItemText(**{**told, "tags": tuple(told["tags"])})
