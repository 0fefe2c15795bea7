"""What the server can be told about taking another bundle while it serves."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.errors import RecsysError
from serving.variants import Variants, shadow_of_text, variants_of_text


class SwapSettings(BaseSettings):
    """Part of ``serving.config.ServerConfig``."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    swap_poll_s: float = Field(default=2.0, gt=0, le=3_600)
    """How often the server looks which bundle of the registry is current, in seconds."""

    text_wait_s: float = Field(default=900.0, ge=0, le=86_400)
    """How long a new bundle may take to read the texts of items that came or changed, in seconds; one that takes longer
    is not taken."""

    previous_kept_s: float = Field(default=900.0, ge=0, le=86_400)
    """How long the bundle before stays in memory after a swap, so that going back takes no time; at least as long as
    the new one is on probation. It goes earlier where another bundle needs the room."""

    probation_s: float = Field(default=120.0, ge=0, le=86_400)
    """How long a new bundle is watched after a swap, in seconds, and taken back if it does worse than the three
    settings below allow; 0: not at all."""

    most_errors: float = Field(default=0.01, ge=0, le=1)
    """What share of its rankings may fail by the server's fault, beyond the share of the bundle before."""

    most_slowdown: float = Field(default=3.0, gt=1)
    """How many times as long its rankings may take to compute as those of the bundle before, in the median."""

    least_overlap: float = Field(default=0.2, ge=0, le=1)
    """What share of its first ten items have to be among the first ten of the bundle before, in the mean over requests
    of more than ten candidates: before the swap over recent requests, after it over a sample of new ones. 0: none."""

    variants: str = ""
    """Groups of users by bundle, as NAME=BUNDLE_ID:SHARE,...; without BUNDLE_ID, whichever serves. `recsys server
    variants` sets others until the next start."""

    variants_salt: str = ""
    """The word by which users are divided into variants: the same word divides them alike on every server."""

    shadow: str = ""
    """A bundle that ranks a share of the requests too, for comparison only, as BUNDLE_ID:SHARE."""

    @field_validator("variants", "variants_salt", "shadow")
    @classmethod
    def _has_its_form(cls, value: str, info: ValidationInfo) -> str:
        try:
            _READ[str(info.field_name)](value)
        except RecsysError as error:
            raise ValueError(str(error)) from None
        return value


_READ: dict[str, Callable[[str], object]] = {
    "variants": variants_of_text,
    "variants_salt": lambda value: Variants(salt=value),
    "shadow": shadow_of_text,
}
