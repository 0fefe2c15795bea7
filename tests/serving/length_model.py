"""A model whose answers are obvious, so that the server's own behaviour can be tested; also a script that serves it.

An item's score is the length of its id. The texts of items that are called "unread" are never read. The request's
surface says what else happens: "slow" computes for as many seconds as the query says, "held" computes until it is
released, "broken" raises an error that quotes the user, and at "mute" the text model fails. Ids that begin with "new"
are unknown until they are added.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import structlog

from recsys.bundle import REQUIRED_FILES, FileEntry, GoldenRequest, Manifest, TextModel, TextVariant, TrainingWindow
from recsys.catalog import Catalog
from recsys.dataset.columns import ITEMS
from recsys.errors import TextFault
from recsys.events import Logged
from recsys.receipt import Receipt
from recsys.schema import Candidate, RankedItem, Ranking, RankRequest, Reason, Rung, RungReason

GOLDEN = GoldenRequest(
    request=RankRequest(
        user_id="golden", candidates=(Candidate(item_id="a"), Candidate(item_id="bbb")), ts=1_700_000_000_000_000
    ),
    scores={"a": 1.0, "bbb": 3.0},
    order=("bbb", "a"),
)

SCHEMA = pl.Schema(
    {
        **{column.name: column.dtype for column in ITEMS},
        "price": pl.Float64(),
        "pages": pl.Int64(),
        "signed": pl.Boolean(),
        "brand": pl.String(),
        "colours": pl.List(pl.String()),
    }
)


def manifest(*golden: GoldenRequest) -> Manifest:
    return Manifest(
        format=1,
        bundle_id="20260102T030405Z-0123abcd",
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        files={name: FileEntry(sha256="0" * 64, bytes=0) for name in REQUIRED_FILES},
        feature_names=("item_clicks",),
        feature_fingerprint="f",
        ranker_columns=("text_logit", "item_clicks"),
        text=TextModel(
            fingerprint="text-1",
            dimensions=256,
            history_length=20,
            variants={"fp32": TextVariant(file="item_encoder.onnx", shipped=True)},
        ),
        window=TrainingWindow(first_ts=1, last_ts=2, lists=3, items=4),
        metrics={"full": {"auc": {"value": 0.75, "low": 0.7}}, "lists": 12, "note": "text", "sure": True},
        golden=golden,
    )


class RankedByLength:
    """What ``LengthModel`` has to say of one request."""

    def __init__(self, request: RankRequest, ranking: Ranking) -> None:
        self._request, self._ranking = request, ranking
        lengths = [len(item_id) for item_id in request.item_ids]
        self.table = np.array([[np.nan, length] for length in lengths], np.float32).reshape(len(lengths), 2)
        self.scores = np.array(lengths, np.float64)

    def ranking(self, before: Mapping[str, float] | None = None) -> Ranking:
        stages = {**(before or {}), **self._ranking.stage_seconds}
        return replace(self._ranking, stage_seconds=stages)

    def receipt(self, ranking: Ranking, *, now_us: int) -> Receipt:
        return Receipt(
            request=self._request,
            time_us=now_us,
            bundle_id=ranking.bundle_id,
            table=self.table,
            scores=self.scores,
            order=tuple(item.item_id for item in ranking.items),
            text_coverage=ranking.text_coverage,
            state_versions=ranking.state_versions,
            item_sequence=0,
            items_without_text=ranking.items_without_text,
        )


class LengthModel:
    """Longer ids first."""

    def __init__(self) -> None:
        self.manifest = manifest(GOLDEN)
        self.bundle_id = self.manifest.bundle_id
        self.providers = ("CPUExecutionProvider",)
        self.asked: list[RankRequest] = []
        self.batches: list[int] = []
        self.learned: list[Logged] = []
        self.release = threading.Event()
        self.catalog = Catalog(pl.DataFrame(schema=SCHEMA))
        self.closed = False
        self._changing = threading.Lock()

    def rank(self, request: RankRequest) -> Ranking:
        self.asked.append(request)
        if request.surface == "slow":
            structlog.get_logger().info("computing")
            time.sleep(float(request.query))
        if request.surface == "held":
            self.release.wait(30)
        if request.surface == "broken":
            raise KeyError(f"the secret of {request.user_id}")
        ids, unread = [candidate.item_id for candidate in request.candidates], self._unread()
        best_first = sorted(ids, key=lambda item_id: (-len(item_id), item_id))
        return Ranking(
            request_id=request.request_id,
            bundle_id=self.bundle_id,
            items=tuple(
                RankedItem(item_id=item_id, score=float(len(item_id)), click_probability=1 / (1 + len(item_id)))
                for item_id in best_first[: request.top_k or None]
            ),
            text_coverage=1.0,
            unknown_items=tuple(
                item_id for item_id in ids if item_id.startswith("new") and self.catalog.rows([item_id])[0] < 0
            ),
            items_without_text=tuple(item_id for item_id in ids if item_id in unread),
            unknown_user=not request.user_id,
            stage_seconds={"trees": 0.25},
        )

    def rank_many(
        self, requests: Sequence[RankRequest], rung: Rung = Rung.FULL, reason: RungReason | None = None
    ) -> list[RankedByLength]:
        self.batches.append(len(requests))
        if rung is Rung.FULL and any(request.surface == "mute" for request in requests):
            raise TextFault("the text model has nothing to say")
        return [
            RankedByLength(request, replace(self.rank(request), rung=rung, rung_reason=reason)) for request in requests
        ]

    def learn(self, told: Sequence[Logged]) -> None:
        self.learned += told

    def follow(self, log_name: str, sequence: int) -> None:
        self.followed = (log_name, sequence)

    def snapshot(self) -> bytes:
        return b"nothing"

    def recall(self, snapshot: bytes, log_name: str, newest: int | None = None) -> int:  # noqa: ARG002
        return 0

    def is_brief(self, request: RankRequest) -> bool:
        return request.surface == "brief"

    def explain(self, request: RankRequest) -> dict[str, tuple[Reason, ...]]:
        return {
            candidate.item_id: (
                Reason(feature="length", value=float(len(candidate.item_id)), effect=float(len(candidate.item_id))),
                Reason(feature="text_logit", value=float("nan"), effect=-0.5),
            )
            for candidate in request.candidates
        }

    @property
    def item_schema(self) -> pl.Schema:
        return SCHEMA

    @property
    def state_versions(self) -> dict[str, int]:
        return {}

    @property
    def pending_texts(self) -> int:
        return len(self._unread())

    def text_lookups(self) -> tuple[int, int]:
        return 0, 0

    @property
    def strongest_features(self) -> tuple[str, ...]:
        return self.manifest.ranker_columns[::-1]

    def upsert(self, items: pl.DataFrame, record: Callable[[pl.DataFrame], object] | None = None) -> int:
        with self._changing:
            changes = self.catalog.changes(items)
            if record is not None and len(changes):
                record(changes)
            self.catalog.publish(self.catalog.append(changes))
            return len(changes)

    def delete(self, item_ids: Iterable[str], record: Callable[[list[str]], object] | None = None) -> int:
        with self._changing:
            known = [item_id for item_id in dict.fromkeys(item_ids) if self.catalog.rows([item_id])[0] >= 0]
            if record is not None and known:
                record(known)
            return self.catalog.delete(known)

    def follow_items(self, sequence: int) -> None:
        self.followed_items = sequence

    def keep_vectors(self, path: Path) -> None:
        """Has none."""

    def close(self) -> None:
        self.closed = True

    def _unread(self) -> set[str]:
        ids = set(self.catalog.ids)
        rows = self.catalog.rows(ids)
        there = rows[rows >= 0].tolist()
        texts = self.catalog.texts(there)
        return {self.catalog.ids[row] for row, text in zip(there, texts, strict=True) if text.title == "unread"}


def load(_registry: Path) -> LengthModel:
    time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))
    return LengthModel()


if __name__ == "__main__":
    from serving.config import ServerConfig
    from serving.process import run_server

    run_server(ServerConfig.read(registry="unused", port=0), load)
    sys.stderr.write("returned\n")
