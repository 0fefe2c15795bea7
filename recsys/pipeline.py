"""The product in one place: a request in, a ranking out, by one bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.bundle import Manifest, ManifestDraft, check_fingerprint, read_bundle
from recsys.calibration import Calibration
from recsys.catalog import Catalog
from recsys.explain import reasons
from recsys.features import Context, FeatureState, Histories, assemble, histories
from recsys.features.behaviour import Behaviour
from recsys.lists import Lists
from recsys.ranker import Ranker
from recsys.schema import NO_STATE, ItemText, RankedItem, Ranking, RankRequest, Reason
from recsys.text.encoder import ItemEncoder
from recsys.text.head import ClickHead
from recsys.text.model import TextModel, Vectors
from recsys.text.tokens import ItemTokenizer, TextSettings

Floats = npt.NDArray[np.float64]


class RankingPipeline:
    """Ranks with the models and the state of one bundle; safe to call from several threads at once."""

    def __init__(
        self, files: Mapping[str, bytes], manifest: ManifestDraft, *, threads: int = 1, cuda: bool | None = None
    ) -> None:
        self.manifest = manifest
        self.bundle_id = manifest.bundle_id if isinstance(manifest, Manifest) else ""
        self.catalog = Catalog(pl.read_parquet(BytesIO(files["items.parquet"])))
        # The bundle's own; where servers share one, what takes its place.
        self.state: Behaviour = FeatureState.from_bytes(files["state.safetensors"], self.catalog)
        check_fingerprint(manifest.feature_fingerprint, self.state.feature_set.fingerprint, "features")
        self.vectors = Vectors.from_bytes(files["vectors.safetensors"])
        settings = TextSettings.model_validate(manifest.text.tokenizer)
        self.text = TextModel(
            tokenizer=ItemTokenizer.from_json(files["tokenizer.json"], settings),
            encoder=ItemEncoder(files["item_encoder.onnx"], threads=threads, cuda=cuda),
            head=ClickHead(files["click_head.onnx"], threads=threads, cuda=cuda),
        )
        self.ranker = Ranker.from_text(files["ranker.txt"])
        self.behaviour_ranker = Ranker.from_text(files["ranker_behaviour.txt"])
        self.calibration = Calibration.from_json(files["calibration.json"])

    @classmethod
    def load(cls, directory: Path, *, threads: int = 1, cuda: bool | None = None) -> Self:
        """Load a bundle's directory, checking every byte first.

        Raises:
            BundleError: the bundle is damaged or does not fit this build.
        """
        bundle = read_bundle(directory)
        return cls(bundle.files, bundle.manifest, threads=threads, cuda=cuda)

    @property
    def providers(self) -> tuple[str, ...]:
        """What the text model really runs on, best first."""
        return tuple(self.text.head.providers)

    def rank(self, request: RankRequest) -> Ranking:
        """Order the candidates of a request, best first; equal scores stand in the order of their ids."""
        watch = _Stopwatch()
        lists = Lists.from_request(request, self.catalog)
        seen = self.state.look(lists)
        behaviour = self.state.feature_set.table(seen)
        watch.stop("features")
        text = self._read(request, lists, seen)
        watch.stop("text")
        scores = self.ranker.predict(assemble(text, behaviour, lists.offsets))
        probabilities = self.calibration.probability(scores)
        watch.stop("ranker")
        ids = [candidate.item_id for candidate in request.candidates]
        order = sorted(range(len(ids)), key=lambda place: (-scores[place], ids[place]))
        return Ranking(
            request_id=request.request_id,
            bundle_id=self.bundle_id,
            items=tuple(
                RankedItem(item_id=ids[i], score=float(scores[i]), click_probability=float(probabilities[i]))
                for i in order[: request.top_k or len(order)]
            ),
            text_coverage=float(np.mean(~np.isnan(text[:, 0]))) if ids else 1.0,
            unknown_items=tuple(ids[place] for place in np.flatnonzero(lists.item_rows < 0)),
            unknown_user=not bool(seen.known_users[0]),
            stage_seconds=watch.seconds,
            degraded=(NO_STATE,) if seen.missing else (),
            state_versions=seen.versions,
        )

    def explain(self, request: RankRequest) -> dict[str, tuple[Reason, ...]]:
        """Say for each candidate which features moved its score, against the list's average, strongest first."""
        lists = Lists.from_request(request, self.catalog)
        if not request.candidates:
            return {}
        seen = self.state.look(lists)
        table = assemble(self._read(request, lists, seen), self.state.feature_set.table(seen), lists.offsets)
        told = reasons(self.ranker.names, table, self.ranker.contributions(table))
        return {candidate.item_id: why for candidate, why in zip(request.candidates, told, strict=True)}

    def text_outputs(self, seen: Context) -> npt.NDArray[np.float32]:
        """Return what the text model says of each item of stored lists [R, 5], exactly as ``rank`` would read it."""
        lists = seen.lists
        asked = sorted({query for query in lists.queries if query})
        queries = self.text.encode([ItemText(title=query) for query in asked])
        query_row = {query: len(self.vectors) + place for place, query in enumerate(asked)}
        history = self._history(seen)
        return np.concatenate(
            [
                self.text.score(
                    self.vectors,
                    lists.item_rows[lists.offsets[place] : lists.offsets[place + 1]],
                    history.rows[place],
                    history.actions[place],
                    history.ages[place],
                    query=query_row.get(lists.queries[place], -1),
                    more=queries,
                )
                for place in range(len(lists))
            ]
        )

    def score_lists(self, seen: Context) -> dict[str, Floats]:
        """Score stored lists by what a state that may know more than the bundle's says of them.

        Returns:
            By method, one score per item [R]: ``full``, ``text_only``, ``behaviour_only``, and full's ``probability``.
        """
        text, behaviour = self.text_outputs(seen), self.state.feature_set.table(seen)
        full = self.ranker.predict(assemble(text, behaviour, seen.lists.offsets))
        return {
            "full": full,
            "text_only": text[:, 0].astype(np.float64),
            "behaviour_only": self.behaviour_ranker.predict(behaviour),
            "probability": self.calibration.probability(full),
        }

    def _history(self, seen: Context) -> Histories:
        return histories(seen, self.manifest.text.history_length, skips=self.manifest.text.skips)

    def _read(self, request: RankRequest, lists: Lists, seen: Context) -> npt.NDArray[np.float32]:
        """Read the candidates' texts and the query: text outputs [N, 5], NaN without a text."""
        rows = lists.item_rows.copy()
        sent: list[ItemText] = []
        for place in np.flatnonzero(rows < 0):
            text = request.candidates[place].text
            if text is not None:
                rows[place] = len(self.vectors) + len(sent)
                sent.append(text)
        query = -1
        if request.query:
            query = len(self.vectors) + len(sent)
            sent.append(ItemText(title=request.query))
        more = self.text.encode(sent) if sent else None
        history = self._history(seen)
        return self.text.score(
            self.vectors, rows, history.rows[0], history.actions[0], history.ages[0], query=query, more=more
        )


class _Stopwatch:
    """Seconds spent per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def stop(self, stage: str) -> None:
        """Book the time since the last stop to a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._started
        self._started = now
