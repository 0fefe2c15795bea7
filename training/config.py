"""What a retraining job can be told, in a TOML file and by ``--set section.key=value``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsys.errors import ConfigError
from recsys.text.tokens import TextSettings
from training.finetune import FinetuneConfig
from training.fit_ranker import RankerConfig


class TextConfig(BaseModel):
    """The text model: where it starts from, what it reads, how wide it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field(default="", description="folder or Hugging Face name; empty for the packaged MiniLM-L6")
    tokens: TextSettings = TextSettings()
    dimensions: int = Field(default=256, ge=8, le=1024)
    history_length: int = Field(default=48, ge=16, le=48, multiple_of=16)
    skips: bool = Field(default=False, description="put shown but unclicked items into the history too")


class TrainConfig(BaseModel):
    """A whole retraining job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    text: TextConfig = TextConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    ranker: RankerConfig = RankerConfig()
    slices: tuple[float, ...] = Field(
        default=(0.4, 0.7),
        description="shares of the log that a text model learns from, to score what follows up to the next share",
    )
    warm_epochs: int = Field(
        default=6, ge=0, description="epochs of the layers above the frozen backbone, before each slice"
    )
    settle_epochs: int = Field(default=2, ge=0, description="the same once more after the encoder has been trained")
    holdout: bool = Field(default=True, description="keep the test lists out; false trains on the whole log")

    @model_validator(mode="after")
    def _slices_ascend(self) -> TrainConfig:
        if list(self.slices) != sorted(set(self.slices)) or not all(0 < share < 1 for share in self.slices):
            raise ValueError("slices must ascend strictly between 0 and 1, such as (0.4, 0.7)")
        return self


def load_config(file: Path | None, settings: Sequence[str]) -> TrainConfig:
    """Read a configuration file, then apply ``section.key=value`` settings in order.

    Raises:
        ConfigError: the file is no TOML, or a key or value is not known; says which.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{file} cannot be read as TOML: {error}") from error
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {setting!r} is not of the form section.key=value")
        _put(values, key.split("."), _parsed(text), setting)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'config'}: {f['msg']}" for f in error.errors())
        raise ConfigError(f"the training configuration is wrong: {faults}") from error


def _put(values: dict[str, Any], path: list[str], value: object, setting: str) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {setting!r}: {part} is a value, not a section")
    values[path[-1]] = value


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
