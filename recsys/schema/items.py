"""Items: what they say, and the candidates of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from recsys.schema.columns import Columns
from recsys.schema.limits import MAX_ID_BYTES, check_id, check_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemText:
    """What an item says: the fields that the text model reads."""

    title: str
    description: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("title", "description", "category"):
            check_text(f"the item's {name}", getattr(self, name))
        check_text("the item's tags together", " ".join(self.tags))


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of the catalog; ``published_us`` in UTC microseconds, 0 when unknown.

    ``attributes`` are further columns of the item table: a number, a boolean, a text, a list of texts, or nothing.
    """

    item_id: str
    text: ItemText
    published_us: int = 0
    attributes: Mapping[str, float | bool | str | Sequence[str] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id("an item's item_id", self.item_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An item that may be shown; ``text`` is for items that the catalog does not know yet."""

    item_id: str
    text: ItemText | None = None

    def __post_init__(self) -> None:
        check_id("a candidate's item_id", self.item_id)


class Candidates(Columns[Candidate]):
    """Candidates in columns: their ids, and the texts of those that came with one, by place from 0."""

    __slots__ = ("ids", "texts")

    def __init__(self, ids: Sequence[str], texts: Mapping[int, ItemText] | None = None) -> None:
        lengths = [*map(len, ids)]
        if lengths and not (min(lengths) and max(lengths) <= MAX_ID_BYTES // 4):
            for item_id in ids:
                check_id("a candidate's item_id", item_id)
        self.ids = ids
        self.texts: Mapping[int, ItemText] = texts or {}

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Self:
        """Put candidates into columns, unless they are there already."""
        if isinstance(candidates, cls):
            return candidates
        given = tuple(candidates)
        texts = {place: each.text for place, each in enumerate(given) if each.text is not None}
        return cls([each.item_id for each in given], texts)

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.ids)

    def member(self, place: int) -> Candidate:
        """Make the candidate at a place."""
        return Candidate(item_id=self.ids[place], text=self.texts.get(place))
