"""Where the time of a ranking goes inside the pipeline, stage by stage, each beside its floor.

A floor is the least that the stage cannot do without, on the same data: reading once what it has to read, or the click
head's own graph. Times are those of one thread's processor, medians over requests that differ.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, arguments, console, tell
from made_bundle import Scale, make_bundle
from serve_latency import SIZES, made_requests

from recsys.bundle import read_bundle
from recsys.features import assemble
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.registry import resolve
from recsys.schema import RankRequest
from recsys.text.head import CANDIDATE_BLOCK
from serving.convert import ranking_to_wire, request_from_wire
from serving.pb import ranking_pb2 as pb

FLOORS = {
    "read": "the parser's own part",
    "lookup": "one read of memory for each id",
    "features": "one read of each item's row of counters",
    "text": "the click head's graph, vectors at hand",
    "trees": "one leaf of each tree for each row, leaves known",
    "answer": "sorting the scores",
    "write": "serialising the columns, filled",
}


class Stages:
    """The stages of one pipeline, each as a function of what the one before gave, and their floors."""

    def __init__(self, pipeline: RankingPipeline) -> None:
        self._pipeline = pipeline
        self.seconds: dict[str, list[float]] = {}
        self._rng = np.random.default_rng(1)
        trees = pipeline.ranker._forest  # noqa: SLF001 - the floor of a stage is inside of it
        if trees is None:
            raise SystemExit("the bundle's trees are not scored by our own loop; measure another one")
        self._leaves = trees.values

    def run(self, message: bytes) -> None:
        """Rank one request, stage by stage."""
        pipeline = self._pipeline
        names = pipeline.state.feature_set.names
        request = self._timed("read", lambda: request_from_wire(pb.RankRequest.FromString(message), now_us=1))
        lists = self._timed("lookup", lambda: Lists.from_requests([request], pipeline.catalog))
        seen, behaviour = self._timed("features", lambda: self._features(lists))
        text = self._timed("text", lambda: pipeline.list_text.of_requests([request], seen)[0])
        table = self._timed("assemble", lambda: assemble(text, behaviour, lists.offsets, names))
        self._timed("trees", lambda: pipeline.ranker.predict(table))
        scored = pipeline.rank_many([request])[0]
        ranking = self._timed("answer", scored.ranking)
        self._timed("write", lambda: self._written(ranking, request))
        self._floors(message, request, lists)

    def _features(self, lists: Lists) -> tuple[Any, Any]:
        seen = self._pipeline.state.look(lists)
        return seen, self._pipeline.state.feature_set.table(seen)

    def _floors(self, message: bytes, request: RankRequest, lists: Lists) -> None:
        pipeline, count = self._pipeline, len(request.candidates)
        self._timed("read_floor", lambda: pb.RankRequest.FromString(message))
        rows = np.maximum(lists.item_rows, 0)
        everywhere = np.arange(1 << 17, dtype=np.int32)
        self._timed("lookup_floor", lambda: everywhere[rows])
        counters = pipeline.own_state._tables.items.counts  # noqa: SLF001 - as above
        self._timed("features_floor", lambda: counters[rows % len(counters)])
        self._timed("text_floor", self._head(count))
        trees = np.arange(len(self._leaves))[:, None]
        leaf = self._rng.integers(0, self._leaves.shape[1], (len(self._leaves), count))
        self._timed("trees_floor", lambda: self._leaves[trees, leaf].sum(axis=0))
        scores = self._rng.standard_normal(count)
        self._timed("answer_floor", lambda: np.argsort(-scores, kind="stable"))
        columns = pb.RankResponse(columns=pb.RankedColumns(places=range(count), scores=scores))
        self._timed("write_floor", columns.SerializeToString)

    def _head(self, count: int) -> Callable[[], Any]:
        text, width = self._pipeline.manifest.text, -(-count // CANDIDATE_BLOCK) * CANDIDATE_BLOCK
        asked = {
            "candidates": np.ones((1, width, text.dimensions), np.float32),
            "item_logits": np.zeros((1, width), np.float32),
            "history": np.ones((1, text.history_length, text.dimensions), np.float32),
            "actions": np.ones((1, text.history_length), np.int8),
            "ages": np.ones((1, text.history_length), np.float32),
        }
        return lambda: self._pipeline.text.head.score(**asked)

    def _written(self, ranking: Any, request: RankRequest) -> bytes:
        return ranking_to_wire(ranking, {}, per_item=0, candidate_ids=request.item_ids).SerializeToString()

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        began = time.thread_time()
        done = work()
        self.seconds.setdefault(stage, []).append(time.thread_time() - began)
        return done


def main() -> None:
    """Measure and tell."""
    options = arguments("The stages of a ranking, each beside its floor.").parse_args()
    scale = Scale(lists=4_000, users=120, fitted_lists=400) if options.quick else Scale()
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder:
        with console.status("making a bundle: 50,000 items, 300 trees of 63 leaves ..."):
            bundle, dataset = make_bundle(Path(folder), scale), Path(folder) / "dataset"
        pipeline = RankingPipeline(read_bundle(resolve(bundle)).files, read_bundle(resolve(bundle)).manifest)
        for size in SIZES:
            stages = Stages(pipeline)
            messages = made_requests(bundle, dataset, size, columns=True)
            for message in messages:
                stages.run(message)
            stages.seconds.clear()
            for message in messages if options.quick else messages * 4:
                stages.run(message)
            for stage, seconds in stages.seconds.items():
                floor = stage.removesuffix("_floor")
                says = f"the floor: {FLOORS[floor]}" if stage.endswith("_floor") else f"of {size} candidates"
                figures[f"{stage}_{size}_ms"] = Figure(value=1e3 * float(np.median(seconds)), unit="ms", says=says)
    tell("stages, one thread", figures, options.json)


if __name__ == "__main__":
    main()
