"""What a bundle says of itself: files and hashes, features, text model, training window, figures, golden requests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from recsys.errors import BundleError
from recsys.schema import RankRequest

FORMAT = 1
MANIFEST = "manifest.json"
REQUIRED_FILES = (
    "item_encoder.onnx",
    "click_head.onnx",
    "tokenizer.json",
    "ranker.txt",
    "ranker_behaviour.txt",
    "calibration.json",
    "item_calibration.json",
    "items.parquet",
    "vectors.safetensors",
    "state.safetensors",
)
OPTIONAL_FILES = ("item_encoder.int8.onnx", "item_encoder.fp16.onnx", "behaviour_calibration.json")
BUNDLE_ID = re.compile(r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")

_LIBRARIES = ("lightgbm", "numpy", "onnxruntime-gpu", "onnxruntime", "polars", "tokenizers", "torch", "transformers")

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Strict):
    """One file of the bundle: SHA-256 of its content, and its size in bytes."""

    sha256: _Sha256
    bytes: _Count


class TextVariant(_Strict):
    """One precision of the item encoder; ``figures`` are what the parity gate measured, shipped or not."""

    file: str
    shipped: bool
    figures: dict[str, float] = {}


class TextModel(_Strict):
    """The text model's identity, how texts become its input, and how a history does.

    ``grid`` is what text outputs were rounded to when the ranker learned; 0, as in older bundles, if they were not.
    """

    fingerprint: str
    tokenizer: dict[str, JsonValue] = {}
    dimensions: int = Field(gt=0)
    history_length: int = Field(gt=0)
    skips: bool = False
    grid: float = Field(default=0.0, ge=0.0)
    variants: dict[str, TextVariant]


class TrainingWindow(_Strict):
    """The lists that were learned from: first and last time in UTC microseconds, and how many lists and items."""

    first_ts: int
    last_ts: int
    lists: _Count
    items: _Count


class GoldenRequest(_Strict):
    """A request and the answer that the bundle must give again: score by item id, and the ids best first.

    ``probabilities`` are the click probabilities by item id; older bundles say none.
    """

    request: RankRequest
    scores: dict[str, float]
    order: tuple[str, ...]
    probabilities: dict[str, float] = {}

    @model_validator(mode="after")
    def _order_names_the_scored_items(self) -> Self:
        if len(self.order) != len(self.scores) or set(self.order) != set(self.scores):
            raise ValueError("a golden request's order and scores name different items")
        if self.probabilities and self.probabilities.keys() != self.scores.keys():
            raise ValueError("a golden request's probabilities and scores name different items")
        return self


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that can change a score."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


class ManifestDraft(_Strict):
    """What training knows of a bundle before its files are sealed."""

    feature_names: tuple[str, ...]
    feature_fingerprint: str
    ranker_columns: tuple[str, ...]
    text: TextModel
    window: TrainingWindow
    metrics: dict[str, JsonValue] = {}
    config: dict[str, JsonValue] = {}
    code_version: str = Field(default_factory=lambda: metadata.version("recsys"))
    libraries: dict[str, str] = Field(default_factory=library_versions)
    golden: tuple[GoldenRequest, ...] = ()


class Manifest(ManifestDraft):
    """A sealed bundle's description; its id names the moment it was made and a hash over everything else."""

    format: int
    bundle_id: str = Field(pattern=BUNDLE_ID.pattern)
    created: AwareDatetime
    files: dict[str, FileEntry]

    @model_validator(mode="after")
    def _lists_the_files_of_a_bundle(self) -> Self:
        missing = sorted(set(REQUIRED_FILES) - set(self.files))
        foreign = sorted(set(self.files) - {*REQUIRED_FILES, *OPTIONAL_FILES})
        if missing:
            raise ValueError(f"no {', '.join(missing)} among its files")
        if foreign:
            raise ValueError(f"{', '.join(map(repr, foreign))} is no file of a bundle (and pickles never are)")
        for name, variant in self.text.variants.items():
            if variant.shipped and variant.file not in self.files:
                raise ValueError(f"the {name} text model is said to be shipped, but {variant.file!r} is not")
        return self

    def to_json(self) -> bytes:
        """Serialise for ``manifest.json``."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def sealed(cls, fields: Mapping[str, Any]) -> Self:
        """Add the bundle id to JSON fields that are complete but for it."""
        try:
            manifest = cls.model_validate({**fields, "bundle_id": _bundle_id(fields)})
        except ValidationError as error:
            raise BundleError(
                f"this would not be a bundle: {_first(error)}; correct what training hands over"
            ) from None
        return cls.from_json(manifest.to_json())

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse ``manifest.json``.

        Raises:
            BundleError: it is damaged, was edited, or belongs to another version of this product.
        """
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is not JSON; restore the bundle or publish it again") from error
        if not isinstance(fields, dict):
            raise BundleError(f"{MANIFEST} is not a JSON object; restore the bundle or publish it again")
        if fields.get("format") != FORMAT:
            raise BundleError(
                f"bundle format {fields.get('format')!r} is not {FORMAT}, the one that this build reads; "
                "use the version of recsys that wrote the bundle, or train a new one"
            )
        try:
            if fields.get("bundle_id") != _bundle_id(fields):
                raise BundleError(
                    f"{MANIFEST} does not fit its bundle id, so it was damaged or edited; "
                    "restore the bundle or publish it again"
                )
            return cls.model_validate(fields)
        except ValidationError as error:
            raise BundleError(f"{MANIFEST}: {_first(error)}; restore the bundle or train a new one") from None


def check_fingerprint(expected: str, actual: str, what: str) -> None:
    """Refuse a part of this build that is not the one that the bundle was trained with."""
    if expected != actual:
        raise BundleError(
            f"the bundle was trained with {what} {expected}, this build has {actual}; "
            "serve it with the version of recsys that trained it, or train a new bundle"
        )


def _bundle_id(fields: Mapping[str, Any]) -> str:
    """Name a bundle: when it was made, to the second, and the first 8 hex digits of a hash over all other fields."""
    rest = {name: value for name, value in fields.items() if name != "bundle_id"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    moment = re.sub(r"[-:]|\.\d+", "", str(fields.get("created")))
    return f"{moment}-{digest[:8]}"


def _first(error: ValidationError) -> str:
    """Say what a validation error found first, and where."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])
