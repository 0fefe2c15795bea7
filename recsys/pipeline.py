"""The product in one place: a request in, a ranking out, by one bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.bundle import Manifest, ManifestDraft, check_fingerprint, read_bundle
from recsys.calibration import Calibration
from recsys.catalog import Catalog
from recsys.crew import Crew
from recsys.events import Logged
from recsys.explain import reasons
from recsys.features import Context, FeatureState, assemble
from recsys.features.behaviour import Behaviour
from recsys.list_tables import ListTables
from recsys.list_text import ListText, Unread
from recsys.lists import Lists
from recsys.live_items import LiveItems, Record, RecordDeleted
from recsys.ranker import Ranker
from recsys.receipt import Receipt
from recsys.rungs import RungScorer
from recsys.schema import NO_STATE, Ranking, RankRequest, Reason, Rung, RungReason
from recsys.scored import Scored, Stopwatch
from recsys.text.model import TextModel
from recsys.text.tokens import TextSettings
from recsys.text.vector_store import encoder_scope
from recsys.text.vectors import Vectors

Floats = npt.NDArray[np.float64]

_BEHAVIOUR_CALIBRATION = "behaviour_calibration.json"


class RankingPipeline:
    """Ranks with the models and the state of one bundle; safe to call from several threads at once.

    Its items may change while it ranks.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        manifest: ManifestDraft,
        *,
        threads: int = 1,
        cuda: bool | None = None,
        crew: int = 1,
    ) -> None:
        self.manifest = manifest
        self.bundle_id = manifest.bundle_id if isinstance(manifest, Manifest) else ""
        self.catalog = Catalog(pl.read_parquet(BytesIO(files["items.parquet"])))
        # The bundle's own; where servers share one, what takes its place.
        self.state: Behaviour = FeatureState.from_bytes(files["state.safetensors"], self.catalog)
        check_fingerprint(manifest.feature_fingerprint, self.state.feature_set.fingerprint, "features")
        self._crew = Crew(crew)
        settings = TextSettings.model_validate(manifest.text.tokenizer)
        self.text = TextModel.open(
            files, settings, grid=manifest.text.grid, crew=self._crew, threads=threads, cuda=cuda
        )
        self.ranker = Ranker.from_text(files["ranker.txt"])
        self.strongest_features = self.ranker.strongest
        self.behaviour_ranker = Ranker.from_text(files["ranker_behaviour.txt"])
        self.calibration = Calibration.from_json(files["calibration.json"])
        alone = files.get(_BEHAVIOUR_CALIBRATION)
        self.rungs = RungScorer(
            self.ranker,
            self.behaviour_ranker,
            self.calibration,
            None if alone is None else Calibration.from_json(alone, _BEHAVIOUR_CALIBRATION),
            crew=self._crew,
        )
        scope = encoder_scope(
            manifest.text.fingerprint.encode(),
            files["tokenizer.json"],
            settings.model_dump_json().encode(),
            b"fp32",
            self.text.encoder.providers[0].encode(),
        )
        self.items = LiveItems(
            self.catalog,
            Vectors.from_bytes(files["vectors.safetensors"]),
            self.text,
            prepare=lambda rows: self.state.items_changed(rows),  # noqa: PLW0108 - of the state that is in place then
            scope=scope,
        )
        self.text_lookups = self.items.reader.lookups
        self.list_text = ListText(self.text, self.items, length=manifest.text.history_length, skips=manifest.text.skips)
        self._tables = ListTables(self.list_text, self.rungs)

    @classmethod
    def load(cls, directory: Path, *, threads: int = 1, cuda: bool | None = None, crew: int = 1) -> Self:
        """Load a bundle's directory, checking every byte first.

        Args:
            directory: the bundle.
            threads: threads for one operator of the text model.
            cuda: True or False forces the choice; None uses the GPU where there is one.
            crew: threads that share the work of a ranking of many candidates, as long as they have nothing else to do.

        Raises:
            BundleError: the bundle is damaged or does not fit this build.
        """
        bundle = read_bundle(directory)
        return cls(bundle.files, bundle.manifest, threads=threads, cuda=cuda, crew=crew)

    @property
    def providers(self) -> tuple[str, ...]:
        """What the text model really runs on, best first."""
        return tuple(self.text.head.providers)

    @property
    def vectors(self) -> Vectors:
        """The vectors of the catalog's rows as of now; take them once, after every row has been looked up."""
        return self.items.vectors

    @property
    def item_schema(self) -> pl.Schema:
        """The columns of the item table, with their dtypes."""
        return self.catalog.schema

    @property
    def state_versions(self) -> Mapping[str, int]:
        """Up to where each event log is known, by its name."""
        return self.state.versions

    @property
    def pending_texts(self) -> int:
        """How many texts of changed items wait to be read."""
        return self.items.reader.pending

    def upsert(self, items: pl.DataFrame, record: Record | None = None) -> int:
        """Add or replace items, as ``recsys.live_items.LiveItems.upsert``; the next ranking knows them."""
        return self.items.upsert(items, record)

    def delete(self, item_ids: Iterable[str], record: RecordDeleted | None = None) -> int:
        """Make items unknown, as ``recsys.live_items.LiveItems.delete``."""
        return self.items.delete(item_ids, record)

    def follow_items(self, sequence: int) -> None:
        """Take note of up to where the items are those of the item log."""
        self.items.sequence = sequence

    def keep_vectors(self, path: Path) -> None:
        """Keep the vectors of texts that the bundle does not have in a file, so that none is ever computed twice.

        Raises:
            StorageError: the file is something else, or cannot be used.
        """
        self.items.reader.keep(path)

    def close(self) -> None:
        """Stop reading texts in the background; rankings are still answered, items stay as they are."""
        self.items.close()
        self._crew.close()

    def rank(self, request: RankRequest) -> Ranking:
        """Order the candidates of a request, best first; equal scores stand in the order of their ids.

        Raises:
            TextFault: the text model failed.
        """
        return self.rank_many([request])[0].ranking()

    def rank_many(
        self, requests: Sequence[RankRequest], rung: Rung = Rung.FULL, reason: RungReason | None = None
    ) -> list[Scored]:
        """Score the candidates of several requests in one pass; no score depends on which requests are in it.

        Args:
            requests: what is asked.
            rung: how they are scored.
            reason: why not on the first rung, for the answers to say.

        Raises:
            TextFault: the text model failed; there are rungs without one.
        """
        with self.items.reading():
            return self._scored(requests, rung, reason)

    def _scored(self, requests: Sequence[RankRequest], rung: Rung, reason: RungReason | None) -> list[Scored]:
        before = self.items.sequence
        watch = Stopwatch()
        lists = Lists.from_requests(requests, self.catalog)
        seen = self.state.look(lists)
        made = self._tables.of_requests(requests, seen, self.state.feature_set, rung, watch=watch)
        ids = [request.item_ids for request in requests]
        scores, probabilities = self.rungs.score(rung, made.table, ids, lists.offsets, made.alone)
        watch.stop("behaviour" if rung is Rung.BEHAVIOUR else "ranker")
        settled = before == self.items.sequence
        return [
            Scored(
                request=request,
                bundle_id=self.bundle_id,
                rows=lists.item_rows[begin:end],
                table=made.table[begin:end],
                scores=scores[begin:end],
                probabilities=probabilities[begin:end],
                unknown_user=not bool(seen.known_users[place]),
                attended_without_text=made.attended_without_text[place],
                degraded=(NO_STATE,) if seen.missing else (),
                state_versions=seen.versions,
                item_sequence=before if settled else None,
                seconds=watch.seconds,
                rung=rung,
                rung_reason=reason,
                reads=None if made.reads is None else made.reads[begin:end],
            )
            for place, (request, (begin, end)) in enumerate(zip(requests, pairwise(lists.offsets), strict=True))
        ]

    def is_brief(self, request: RankRequest) -> bool:
        """Tell whether nothing but its candidates makes a ranking long: nothing to read, to ask, or to wait for now."""
        here = self.text.head.providers[0] == "CPUExecutionProvider"
        ready = isinstance(self.state, FeatureState) and not self.state.busy
        return here and ready and not request.texts and not request.query

    def explain(self, request: RankRequest) -> dict[str, tuple[Reason, ...]]:
        """Say for each candidate which features moved its score, against the list's average, strongest first."""
        if not request.candidates:
            return {}
        with self.items.reading():
            table = self.table(request, self.state.look(Lists.from_requests([request], self.catalog)))
        return dict(zip(request.item_ids, self.reasons(table), strict=True))

    def reasons(self, table: npt.NDArray[np.float32]) -> list[tuple[Reason, ...]]:
        """Say what moved each row of a table [N, C] of the first rung."""
        return reasons(self.ranker.names, table, self.ranker.contributions(table))

    def score(self, receipt: Receipt) -> tuple[Floats, Floats]:
        """Score a receipt's table again, on its rung; returns scores and click probabilities [N]."""
        ids = receipt.request.item_ids
        return self.rungs.score(receipt.rung, receipt.table, [ids], np.array([0, len(ids)]))

    def learn(self, told: Sequence[Logged]) -> None:
        """Learn from what people did since the training window; the next ranking knows it."""
        if told:
            with self.items.unchanged():  # so that it is certain which items were known when an event was learned
                self.state.hear(self.untrained(told), told[-1].sequence)

    def untrained(self, told: Sequence[Logged]) -> list[Logged]:
        """Leave out what the bundle's own state may know: events, and clicks on lists, of its training window."""
        since = self.manifest.window.last_ts
        return [each for each in told if (each.shown or each.event).ts > since]

    def follow(self, log_name: str, sequence: int) -> None:
        """Take note of which event log is told of, and from where on; for a state of this process alone."""
        self.own_state.follow(log_name, sequence)

    def snapshot(self) -> bytes:
        """Write down what was learned, and up to where the event log is known; as ``follow``."""
        return self.own_state.to_bytes()

    def recall(self, snapshot: bytes, log_name: str, newest: int | None = None) -> int:
        """Know what a snapshot says, and return up to where that is in the event log; 0 if it does not fit the log.

        Raises:
            BundleError: the snapshot is damaged, or of other features.
        """
        return self.own_state.recall(snapshot, log_name, newest)

    @property
    def own_state(self) -> FeatureState:
        """The state of this process alone; TypeError where servers share one."""
        if not isinstance(self.state, FeatureState):
            raise TypeError("servers share this state, so it has no snapshot of one process's own")
        return self.state

    def table(
        self, request: RankRequest, seen: Context, unread: Unread = ((), ()), rung: Rung = Rung.FULL
    ) -> npt.NDArray[np.float32]:
        """Return the table [N, C] that a rung would score, by what a state says."""
        return self._tables.of_requests([request], seen, self.state.feature_set, rung, unread=unread).table

    def score_lists(self, seen: Context) -> dict[str, Floats]:
        """Score stored lists by what a state that may know more than the bundle's says of them.

        Returns:
            By method, one score per item [R]: ``full``, ``text_only``, ``behaviour_only``, and full's ``probability``.
        """
        text, behaviour = self.list_text.of_log(seen), self.state.feature_set.table(seen)
        full = self.ranker.predict(assemble(text, behaviour, seen.lists.offsets, self.state.feature_set.names))
        return {
            "full": full,
            "text_only": text[:, 0].astype(np.float64),
            "behaviour_only": self.behaviour_ranker.predict(behaviour),
            "probability": self.calibration.probability(full),
        }

    def score_rungs(self, seen: Context) -> dict[Rung, Floats]:
        """Score stored lists on every rung, as ``score_lists`` on the first; by rung, one score per item [R]."""
        return self._tables.score_log(seen, self.state.feature_set, self.catalog.ids)
