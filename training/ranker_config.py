"""How the ranker is grown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RankerConfig(BaseModel):
    """How the ranker's trees are grown; the defaults were found on RankLens (docs name the figures)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: int = Field(default=500, ge=1, description="at most, per objective; early stopping finds the number")
    patience: int = Field(default=50, ge=1, description="trees without better ranking of the newest lists")
    learning_rate: float = Field(default=0.05, gt=0)
    leaves: int = Field(default=15, ge=2)
    min_rows_in_leaf: int = Field(default=150, ge=1, description="at most; few rows allow smaller leaves")
    l2: float = Field(default=10.0, ge=0)
    columns: float = Field(default=0.3, gt=0, le=1, description="share of the columns that a tree may use")
    lists: float = Field(default=0.7, gt=0, le=1, description="share of the lists that a tree sees")
    bins: int = Field(default=63, ge=2, description="coarse bins bear drifting scores better")
    pointwise: float = Field(default=0.5, ge=0, lt=1, description="weight of log-loss trees beside the lambdarank ones")
    validation: float = Field(default=0.15, gt=0, lt=1, description="share of the newest lists that judges")
    text_dropout: float = Field(default=0.1, ge=0, lt=1, description="share of lists that lose their text scores")
    counter_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="share of lists learned as if nothing had ever been heard"
    )
    stale_share: float = Field(
        default=0.1, ge=0, lt=1, description="share of lists learned as if nothing had been heard for 1 to 72 hours"
    )
    position_bias: bool = Field(
        default=False, description="let lambdarank learn and take out a bias per place; log-loss trees are left out"
    )
    threads: int = Field(default=0, ge=0, description="0 takes one per half million rows, up to the cores there are")
    refit: bool = Field(default=True, description="grow as many trees again on all lists")
    seed: int = Field(default=0, ge=0)
