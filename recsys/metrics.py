"""How good an order is: the click metrics of MIND, list by list, and a report on click probabilities.

Shapes: R items in all, L lists, K kept lists (those with a click and a non-click).

Ties and missing scores: items with equal scores share their places, and each metric is its expected value over all
orders of the tied items. So a constant scorer gets exactly what chance gives, whatever order the items came in; without
ties the figures are MIND's. NaN scores rank last, below minus infinity, tied among themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the items of K lists ended up, list after list, best first.

    ``first`` and ``last`` [R] are the ranks, from 1, that an item shares with those of equal score (equal when it is
    alone). ``starts``, ``lengths`` and ``clicks`` [K] say where a list begins, its size and its clicked items.
    """

    clicked: Bools
    first: Ints
    last: Ints
    starts: Ints
    lengths: Ints
    clicks: Ints

    def clicked_sum(self, values: Floats) -> Floats:
        """Add up ``values`` [R] over the clicked items of each list; shape [K]."""
        return np.add.reduceat(np.where(self.clicked, values, 0.0), self.starts) if len(self.starts) else np.empty(0)

    def expected(self, by_rank: Floats) -> Floats:
        """Average a figure of the rank, ``by_rank[0]`` being that of rank 1, over the ranks of each item; shape [R]."""
        total = np.concatenate([[0.0], np.cumsum(by_rank)])
        shared: Floats = (total[self.last] - total[self.first - 1]) / (self.last - self.first + 1)
        return shared

    @property
    def ranks(self) -> Floats:
        """All ranks that occur, as floats: 1 up to the longest list."""
        return np.arange(1, self.lengths.max(initial=0) + 1, dtype=np.float64)


def auc(places: Places) -> Floats:
    """Share of (clicked, not clicked) pairs in the right order, a tie counting one half: sklearn's roc_auc_score."""
    below = np.repeat(places.lengths, places.lengths) - (places.first + places.last) / 2
    pairs = places.clicks * (places.lengths - places.clicks)
    return (places.clicked_sum(below) - places.clicks * (places.clicks - 1) / 2) / pairs


def mrr(places: Places) -> Floats:
    """Mean of 1 / rank over all clicked items, sum(y / rank) / sum(y); MIND's, not that of the first hit."""
    return places.clicked_sum(places.expected(1 / places.ranks)) / places.clicks


def ndcg(places: Places, *, k: int) -> Floats:
    """Gain 2^y - 1 over log2(rank + 1), summed over the first k places, divided by the best possible sum."""
    discount = np.where(places.ranks <= k, 1 / np.log2(places.ranks + 1), 0.0)
    ideal: Floats = np.concatenate([[0.0], np.cumsum(discount)])[places.clicks]
    return places.clicked_sum(places.expected(discount)) / ideal


def hit(places: Places) -> Floats:
    """Tell whether the item ranked first was clicked."""
    return places.clicked_sum(places.expected((places.ranks == 1).astype(np.float64)))


# Name -> metric, in the order in which they are shown. The name is the key in every report.
METRICS: dict[str, Callable[[Places], Floats]] = {
    "auc": auc,
    "mrr": mrr,
    "ndcg@5": partial(ndcg, k=5),
    "ndcg@10": partial(ndcg, k=10),
    "hit@1": hit,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMetrics:
    """Each metric of each kept list; ``kept`` [K] are the lists' numbers among all L, ascending.

    ``tie_rate`` is the share of the kept lists' items that share their score with another item of their list.
    """

    values: dict[str, Floats]
    kept: Ints
    tie_rate: float

    def means(self) -> dict[str, float]:
        """Average each metric over the kept lists, NaN where there are none."""
        return {name: float(value.mean()) if len(value) else float("nan") for name, value in self.values.items()}


def list_metrics(scores: npt.ArrayLike, clicked: npt.ArrayLike, offsets: npt.ArrayLike) -> ListMetrics:
    """Judge the order that ``scores`` give to the items of each list.

    Args:
        scores: higher is better, NaN ranks last; shape [R].
        clicked: what was clicked; shape [R].
        offsets: list ``l`` holds the items ``offsets[l]:offsets[l + 1]``; shape [L + 1].

    Lists without both a clicked and an unclicked item say nothing about order and are left out.
    """
    given, seen = np.asarray(scores, np.float64), np.asarray(clicked, np.bool_)
    ends = np.asarray(offsets, np.int64)
    if not len(given) == len(seen) == ends[-1]:
        raise ValueError(f"{len(given)} scores and {len(seen)} clicks for lists of {ends[-1]} items")
    places, kept = _places(given, seen, ends)
    tied = places.first < places.last
    return ListMetrics(
        values={name: metric(places) for name, metric in METRICS.items()},
        kept=kept,
        tie_rate=float(tied.mean()) if len(tied) else 0.0,
    )


def _places(scores: Floats, clicked: Bools, offsets: Ints) -> tuple[Places, Ints]:
    lengths = np.diff(offsets)
    clicks = np.diff(np.concatenate([[0], np.cumsum(clicked)])[offsets])
    usable = (clicks > 0) & (clicks < lengths)
    rows = np.repeat(usable, lengths)
    scores, clicked, lengths, clicks = scores[rows], clicked[rows], lengths[usable], clicks[usable]
    starts = np.cumsum(lengths) - lengths
    list_of_row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((-scores, list_of_row))  # NaN sorts last
    scores, clicked = scores[order], clicked[order]
    rank = np.arange(len(scores)) - np.repeat(starts, lengths) + 1
    same = (scores[1:] == scores[:-1]) | (np.isnan(scores[1:]) & np.isnan(scores[:-1]))
    opens = np.concatenate([[True], ~same | (rank[1:] == 1)])[: len(scores)]
    heads = np.flatnonzero(opens)
    sizes = np.diff(np.append(heads, len(scores)))
    first = np.repeat(rank[heads], sizes)
    places = Places(
        clicked=clicked,
        first=first,
        last=first + np.repeat(sizes, sizes) - 1,
        starts=starts,
        lengths=lengths,
        clicks=clicks,
    )
    return places, np.flatnonzero(usable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """How well one class is told: 0 where nothing was predicted, or nothing is there, to divide by."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Items of similar probability: how many, what was said on average, and what happened."""

    count: int
    probability: float
    click_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickReport:
    """What click probabilities are worth; figures over the ``count`` items that have one (``missing`` have none).

    ``classes`` holds "no_click" and "click", told apart at ``threshold``. ``base_log_loss`` is the log loss (nats) of
    always saying ``base_rate``. ``ece``, the expected calibration error, is the mean distance between said and seen
    over the ``bins``, weighted by their counts.
    """

    classes: dict[str, ClassReport]
    threshold: float
    count: int
    missing: int
    base_rate: float
    log_loss: float
    base_log_loss: float
    ece: float
    bins: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers."""
        return {**asdict(self), "bins": [asdict(part) for part in self.bins]}


def click_report(
    probability: npt.ArrayLike, clicked: npt.ArrayLike, *, threshold: float = 0.5, bins: int = 10
) -> ClickReport:
    """Judge click probabilities [R], NaN where there is none, against what was clicked [R].

    Reliability bins hold about equally many items, and equal probabilities stay together: click rates are low, so
    bins of equal width would put nearly everything into the first one.
    """
    given, seen = np.asarray(probability, np.float64), np.asarray(clicked, np.bool_)
    present = ~np.isnan(given)
    p, y = given[present], seen[present]
    if not len(p):
        raise ValueError("no item has a click probability")
    base = float(y.mean())
    parts = _reliability(p, y, bins)
    return ClickReport(
        classes={"no_click": _class_report(p < threshold, ~y), "click": _class_report(p >= threshold, y)},
        threshold=threshold,
        count=len(p),
        missing=int((~present).sum()),
        base_rate=base,
        log_loss=_log_loss(p, y),
        base_log_loss=_log_loss(np.full(len(p), base), y),
        ece=sum(part.count * abs(part.probability - part.click_rate) for part in parts) / len(p),
        bins=parts,
    )


def _class_report(predicted: Bools, actual: Bools) -> ClassReport:
    right, said, there = int((predicted & actual).sum()), int(predicted.sum()), int(actual.sum())
    return ClassReport(
        precision=right / said if said else 0.0,
        recall=right / there if there else 0.0,
        f1=2 * right / (said + there) if said + there else 0.0,
        support=there,
    )


def _log_loss(p: Floats, y: Bools) -> float:
    # A certain probability that proves wrong would cost infinitely much: clip as sklearn does.
    tiny = np.finfo(np.float64).eps
    return float(-np.log(np.clip(np.where(y, p, 1 - p), tiny, 1.0)).mean())


def _reliability(p: Floats, y: Bools, bins: int) -> tuple[ReliabilityBin, ...]:
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    bin_of_row = np.searchsorted(edges, p, side="left")
    counts = np.bincount(bin_of_row)
    said, happened = np.bincount(bin_of_row, weights=p), np.bincount(bin_of_row, weights=y)
    return tuple(
        ReliabilityBin(count=int(n), probability=float(a / n), click_rate=float(b / n))
        for n, a, b in zip(counts, said, happened, strict=True)
        if n
    )
