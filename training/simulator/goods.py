"""The goods of a simulated shop: what they truly are, and what their texts say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from training.simulator.config import SimulationConfig
from training.simulator.vocabulary import STYLES, TONES, TOPICS, Style, Tone, Topic

_DAY_US = 86_400_000_000
_OLDEST_DAYS = 365
_TONE_NOISE = 0.45  # quality shows in the words, but not all of it
_TONE_EDGES = (-1.3, -0.45, 0.45, 1.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """The truth of N items, sorted by topic; times in days since the start of the log."""

    topic: npt.NDArray[np.int64]
    style: npt.NDArray[np.int64]
    quality: npt.NDArray[np.float64]
    published: npt.NDArray[np.float64]
    exposure: npt.NDArray[np.float64]
    table: pl.DataFrame


def make_goods(config: SimulationConfig, rng: np.random.Generator) -> Goods:
    """Draw the items and write their texts."""
    count = config.items
    topic = np.sort(rng.integers(config.topics, size=count))
    style = rng.integers(len(STYLES), size=count)
    quality = rng.standard_normal(count)
    published = -rng.uniform(0.0, _OLDEST_DAYS, count)
    arriving = rng.permutation(count)[config.first_items :]
    published[arriving] = rng.uniform(0.0, config.days, len(arriving))
    tone = np.digitize(quality + _TONE_NOISE * rng.standard_normal(count), _TONE_EDGES)
    writer = _Writer(rng)
    texts = [writer.describe(TOPICS[t], STYLES[s], TONES[q]) for t, s, q in zip(topic, style, tone, strict=True)]
    price = np.array([TOPICS[t].price for t in topic]) * np.exp(0.4 * rng.standard_normal(count) + 0.2 * quality)
    start = int(config.start.timestamp() * 1_000_000)
    moments = start + (published * _DAY_US).astype(np.int64)
    width = len(str(count - 1))
    table = pl.DataFrame(
        {
            "item_id": [f"item-{number:0{width}d}" for number in range(count)],
            **{name: [text[name] for text in texts] for name in ("title", "description", "category")},
            "tags": [[text["kind"]] for text in texts],
            "published_at": pl.Series(moments, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            "brand": [text["brand"] for text in texts],
            "price": np.round(price, 2),
        }
    )
    return Goods(
        topic=topic,
        style=style,
        quality=quality,
        published=published,
        exposure=np.exp(0.6 * rng.standard_normal(count)),
        table=table,
    )


class _Writer:
    """Composes texts from the vocabulary."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def _pick(self, words: tuple[str, ...]) -> str:
        return words[int(self._rng.integers(len(words)))]

    def describe(self, topic: Topic, style: Style, tone: Tone) -> dict[str, str]:
        """Write an item's texts: the style shows in an adjective and a sentence, quality in a word and a sentence.

        No attribute tells the style: as in most shops, what pleases has to be read.
        """
        noun, material, use = self._pick(topic.nouns), self._pick(topic.materials), self._pick(topic.uses)
        brand, adjective, praise = self._pick(topic.brands), self._pick(style.adjectives), self._pick(tone.title_words)
        thing = f"{adjective.lower()} {noun.lower()}"
        title = self._pick(
            (
                f"{adjective} {material} {noun} for {use}",
                f"{brand} {adjective} {noun}, {material}",
                f"{praise} {adjective} {noun} in {material}",
                f"{brand} {praise} {noun} for {use} - {adjective}",
            )
        )
        opening = self._pick(
            (
                f"{_article(thing)} {thing} in {material.lower()}, made for {use.lower()}.",
                f"This {noun.lower()} from {brand} is made of {material.lower()} and is at its best in {use.lower()}.",
                f"{material} meets {use.lower()}: {_article(noun).lower()} {noun.lower()} by {brand}.",
            )
        )
        return {
            "title": title,
            "description": f"{opening} {self._pick(style.sentences)} {self._pick(tone.sentences)}",
            "category": topic.name,
            "kind": noun.lower(),
            "brand": brand,
        }


def _article(word: str) -> str:
    return "An" if word[0].upper() in "AEIO" else "A"  # a ukulele, not an
