"""When a ranking may do with less: settings of the ladder of service."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.ladder import Ladder, Rules


class LadderSettings(BaseSettings):
    """Part of ``serving.config.ServerConfig``."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    ladder: bool = True
    """Answer with less where there is no time for all of it, and say so (docs/ladder.md). Off, a ranking is full or
    fails."""

    ladder_margin: float = Field(default=2.0, ge=1, le=100)
    """How many times what a ranking is expected to cost must be left of its deadline; otherwise it steps down."""

    ladder_down: float = Field(default=0.8, gt=0, le=10)
    """What share of the threads' time may be asked for, or of the queue be full, before all rankings step down."""

    ladder_down_s: float = Field(default=1.0, ge=0, le=600)
    """For how many seconds it must have been more than that."""

    ladder_up: float = Field(default=0.6, gt=0, le=10)
    """Below which share a better rung would have to be for rankings to step up again."""

    ladder_up_s: float = Field(default=10.0, ge=0, le=3_600)
    """For how many seconds it must have been less than that."""

    @model_validator(mode="after")
    def _leaves_below_where_it_enters(self) -> Self:
        if self.ladder_up >= self.ladder_down:
            raise ValueError("ladder_up must be below ladder_down, or rankings would step up and down all the time")
        return self

    def ladder_of(self, threads: int, most_waiting: int) -> Ladder | None:
        """Make the ladder, for so many threads that rank and a queue of that length; None where it is off."""
        rules = Rules(
            margin=self.ladder_margin,
            down=self.ladder_down,
            down_s=self.ladder_down_s,
            up=self.ladder_up,
            up_s=self.ladder_up_s,
        )
        return Ladder(rules, threads=threads, most_waiting=most_waiting) if self.ladder else None
