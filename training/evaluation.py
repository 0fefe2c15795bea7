"""What an evaluation found: every method's figures with intervals, whole and in slices, as JSON and for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import RenderableType

from recsys.metrics import ClickReport
from recsys.schema import Rung
from training import evaluation_tables
from training.bootstrap import Figure
from training.rung_figures import RungFigures
from training.staleness import TOLERANCE

# Method -> metric -> figure.
Figures = Mapping[str, Mapping[str, Figure]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFigures:
    """Every method's figures on some of the lists; ``methods`` is empty where there is no list."""

    title: str
    says: str
    lists: int
    users: int
    methods: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleFigures:
    """The full stack and text alone on all lists when counters are stale or gone; ``difference`` is paired."""

    title: str
    says: str
    methods: Figures
    difference: Mapping[str, Figure]

    @property
    def passed(self) -> bool:
        """Tell whether the full stack is as good as text alone, but for the tolerance."""
        return self.difference["auc"].value >= -TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What was evaluated on.

    ``first`` and ``last`` are the times (ISO 8601, UTC) of the oldest and newest test list. Of ``test_lists`` only
    those with both a click and a non-click are judged for order; ``click_rate`` is over all their items.
    ``unknown_items`` counts items shown in test lists that the bundle does not know.
    """

    split: str
    training_lists: int
    test_lists: int
    items_shown: int
    unknown_items: int
    click_rate: float
    first: str
    last: str

    def to_json(self) -> dict[str, Any]:
        """Return the facts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Means over ``lists`` test lists of ``users`` users, with 95 % bootstrap intervals over users.

    ``differences`` are paired: "full - popularity" is the mean, over lists, of how far the one is above the other.
    ``stale`` holds the stale-counter test by circumstance (``training.staleness``), ``rungs`` what each rung of service
    is worth.
    ``tie_rates`` say which share of the items shares its score with another one of its list, per method.
    """

    bundle_id: str
    lists: int
    users: int
    methods: Figures
    differences: Figures
    slices: Mapping[str, SliceFigures]
    stale: Mapping[str, StaleFigures]
    rungs: Mapping[Rung, RungFigures]
    calibration: ClickReport
    tie_rates: Mapping[str, float]
    dataset: DatasetFacts
    draws: int
    seed: int

    @property
    def stale_passed(self) -> bool:
        """Tell whether the full stack bears stale and missing counters."""
        return all(part.passed for part in self.stale.values())

    def best_first(self, metric: str = "auc") -> list[str]:
        """Name the methods, the highest ``metric`` first."""
        return sorted(self.methods, key=lambda method: -self.methods[method][metric].value)

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and numbers; the keys are a contract."""
        return {
            "bundle_id": self.bundle_id,
            "lists": self.lists,
            "users": self.users,
            "methods": _plain(self.methods),
            "slices": {
                name: {"says": part.says, "lists": part.lists, "users": part.users, "methods": _plain(part.methods)}
                for name, part in self.slices.items()
            },
            "differences": _plain(self.differences),
            "stale": {
                **{
                    name: {**_plain(part.methods), "difference": _plain_row(part.difference)}
                    for name, part in self.stale.items()
                },
                "passed": self.stale_passed,
            },
            "rungs": {rung.value: part.to_json() for rung, part in self.rungs.items()},
            "calibration": self.calibration.to_json(),
            "tie_rates": dict(self.tie_rates),
            "unknown_items": self.dataset.unknown_items,
            "dataset": self.dataset.to_json(),
            "bootstrap": {"draws": self.draws, "seed": self.seed, "unit": "user", "confidence": 0.95},
        }

    def tables(self) -> tuple[RenderableType, ...]:
        """Return what to print on a terminal, in order."""
        return evaluation_tables.tables(self)


def _plain(figures: Figures) -> dict[str, dict[str, dict[str, float]]]:
    return {method: _plain_row(row) for method, row in figures.items()}


def _plain_row(row: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    return {metric: figure.to_json() for metric, figure in row.items()}
