"""A model whose answers are obvious, so that the server's own behaviour can be tested; also a script that serves it.

An item's score is the length of its id. The request's surface says what else happens: "slow" computes for as many
seconds as the query says, "held" computes until it is released, "broken" raises an error that quotes the user. Ids that
begin with "new" are unknown.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from recsys.bundle import REQUIRED_FILES, FileEntry, GoldenRequest, Manifest, TextModel, TextVariant, TrainingWindow
from recsys.events import Logged
from recsys.schema import Candidate, RankedItem, Ranking, RankRequest, Reason

GOLDEN = GoldenRequest(
    request=RankRequest(
        user_id="golden", candidates=(Candidate(item_id="a"), Candidate(item_id="bbb")), ts=1_700_000_000_000_000
    ),
    scores={"a": 1.0, "bbb": 3.0},
    order=("bbb", "a"),
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


class LengthModel:
    """Longer ids first."""

    def __init__(self) -> None:
        self.manifest = manifest(GOLDEN)
        self.bundle_id = self.manifest.bundle_id
        self.providers = ("CPUExecutionProvider",)
        self.asked: list[RankRequest] = []
        self.learned: list[Logged] = []
        self.release = threading.Event()

    def rank(self, request: RankRequest) -> Ranking:
        self.asked.append(request)
        if request.surface == "slow":
            structlog.get_logger().info("computing")
            time.sleep(float(request.query))
        if request.surface == "held":
            self.release.wait(30)
        if request.surface == "broken":
            raise KeyError(f"the secret of {request.user_id}")
        ids = [candidate.item_id for candidate in request.candidates]
        best_first = sorted(ids, key=lambda item_id: (-len(item_id), item_id))
        return Ranking(
            request_id=request.request_id,
            bundle_id=self.bundle_id,
            items=tuple(
                RankedItem(item_id=item_id, score=float(len(item_id)), click_probability=1 / (1 + len(item_id)))
                for item_id in best_first[: request.top_k or None]
            ),
            text_coverage=1.0,
            unknown_items=tuple(item_id for item_id in ids if item_id.startswith("new")),
            unknown_user=not request.user_id,
            stage_seconds={"trees": 0.25},
        )

    def learn(self, told: Sequence[Logged]) -> None:
        self.learned += told

    def explain(self, request: RankRequest) -> dict[str, tuple[Reason, ...]]:
        return {
            candidate.item_id: (
                Reason(feature="length", value=float(len(candidate.item_id)), effect=float(len(candidate.item_id))),
                Reason(feature="text_logit", value=float("nan"), effect=-0.5),
            )
            for candidate in request.candidates
        }


def load(_registry: Path) -> LengthModel:
    time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))
    return LengthModel()


if __name__ == "__main__":
    from serving.config import ServerConfig
    from serving.server import run_server

    run_server(ServerConfig.read(registry="unused", port=0), load)
    sys.stderr.write("returned\n")
