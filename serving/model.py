"""What the server needs of a model, and what it tells about one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import JsonValue

from recsys.bundle import Manifest, ManifestDraft
from recsys.events import Logged
from recsys.receipt import Receipt
from recsys.schema import Ranking, RankRequest, Reason, Rung, RungReason
from serving.info import ModelInfo


class Ranked(Protocol):
    """A request that was ranked."""

    @property
    def table(self) -> npt.NDArray[np.float32]:
        """What the ranker saw [N, C]."""
        ...

    def ranking(self, before: Mapping[str, float] = ...) -> Ranking:
        """Put the candidates into their order; ``before`` are seconds of stages before the ranking's own."""
        ...

    def receipt(self, ranking: Ranking, *, now_us: int) -> Receipt:
        """Say what the ranking was made of; ``now_us`` is when the request came, UTC microseconds."""
        ...


class Model(Protocol):
    """A loaded bundle that ranks; its methods are called from several threads at once."""

    @property
    def bundle_id(self) -> str:
        """The bundle's id."""
        ...

    @property
    def manifest(self) -> ManifestDraft:
        """What the bundle says of itself."""
        ...

    @property
    def providers(self) -> tuple[str, ...]:
        """What the text model really runs on, best first, as ONNX Runtime names it."""
        ...

    @property
    def strongest_features(self) -> Sequence[str]:
        """The ranker's columns, those that decide most first."""
        ...

    def rank(self, request: RankRequest) -> Ranking:
        """Order the candidates: every one exactly once, cut to ``top_k``, under the request's id."""
        ...

    def rank_many(
        self, requests: Sequence[RankRequest], rung: Rung = Rung.FULL, reason: RungReason | None = None
    ) -> Sequence[Ranked]:
        """Rank several requests in one pass; none of the answers depends on which requests are in it.

        They are scored on a ``rung``, and say so, and for which ``reason``.

        Raises:
            TextFault: the text model failed; there are rungs without one.
        """
        ...

    def is_brief(self, request: RankRequest) -> bool:
        """Tell whether nothing but its candidates makes its ranking long: no text to read, nobody to ask."""
        ...

    def explain(self, request: RankRequest) -> Mapping[str, tuple[Reason, ...]]:
        """Say what moved each candidate's score, strongest first, by item id."""
        ...

    def learn(self, told: Sequence[Logged]) -> None:
        """Take note of what the event log tells, in its order; called by one thread at a time, beside ``rank``.

        Everything that it does not know is told once before the first ranking, then what comes in.
        """
        ...

    def follow(self, log_name: str, sequence: int) -> None:
        """Take note of which event log it will be told of, and from where on."""
        ...

    def snapshot(self) -> bytes:
        """Write down what it has learned, and up to where it knows the event log."""
        ...

    def recall(self, snapshot: bytes, log_name: str, newest: int | None = None) -> int:
        """Know what a snapshot says, and return up to where that is in the event log.

        0, and nothing is known, if it is about another log, or knows more of it than its ``newest`` event.

        Raises:
            BundleError: the snapshot is damaged, or not of this model.
        """
        ...

    @property
    def item_schema(self) -> pl.Schema:
        """The columns of its item table."""
        ...

    @property
    def state_versions(self) -> Mapping[str, int]:
        """Up to where it knows each event log, by its name; stands still while an item's change is recorded."""
        ...

    @property
    def pending_texts(self) -> int:
        """How many texts of changed items wait to be read."""
        ...

    def text_lookups(self) -> tuple[int, int]:
        """Return how many texts had their vector already when it was looked up, and how many had to be encoded."""
        ...

    def upsert(self, items: pl.DataFrame, record: Callable[[pl.DataFrame], int | None] | None = None) -> int:
        """Add or replace items, all or none, and count the changed ones; ``record`` is given those first.

        Raises:
            InvalidRequest: the items do not fit the item table.
        """
        ...

    def delete(self, item_ids: Iterable[str], record: Callable[[list[str]], int | None] | None = None) -> int:
        """Make items unknown, and count those that were known; ``record`` is given their ids first."""
        ...

    def follow_items(self, sequence: int) -> None:
        """Take note of up to where the items are those of the item log; changes count on by what ``record`` returns."""
        ...

    def keep_vectors(self, path: Path) -> None:
        """Keep the vectors of new texts in a file, and look there first.

        Raises:
            StorageError: the file is something else, or cannot be used.
        """
        ...

    def close(self) -> None:
        """Stop what runs in the background; what was ranked can still be ranked."""
        ...


def describe(model: Model) -> ModelInfo:
    """Gather what a caller may know of a model."""
    manifest = model.manifest
    return ModelInfo(
        bundle_id=model.bundle_id,
        created_us=round(manifest.created.timestamp() * 1e6) if isinstance(manifest, Manifest) else 0,
        metrics=dict(_figures(manifest.metrics)),
        feature_names=manifest.ranker_columns,
        text_model_fingerprint=manifest.text.fingerprint,
        history_length=manifest.text.history_length,
        providers=model.providers,
        code_version=metadata.version("recsys"),
    )


def _figures(metrics: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Walk nested metrics to their numbers, naming each by its path: ``full.auc.value``."""
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from _figures(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, float(value)
