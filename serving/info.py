"""What a caller may know of the model that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The model that answers: where it comes from, what it was measured at, and what it runs on.

    ``created_us`` is in UTC microseconds; ``history_length`` counts the history entries that the text model attends to.
    """

    bundle_id: str
    created_us: int
    metrics: Mapping[str, float]
    feature_names: tuple[str, ...]
    text_model_fingerprint: str
    history_length: int
    providers: tuple[str, ...]
    code_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upserted:
    """What became of items that were sent: how many are new or changed, and how many texts wait to be read."""

    changed: int
    pending_texts: int
