"""The plain way to every counter: look through the whole log, each time. What the state must agree with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recsys.events import Click, Impression, Interaction, Logged

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
WINDOWS = ((MINUTE, 5), (5 * MINUTE, 12), (HOUR, 24), (DAY, 7), (DAY, 30))
LIMITS = (5 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY, 30 * DAY)
NAN = math.nan


@dataclass(frozen=True)
class Count:
    """Something shown (what 0) or clicked (what 1)."""

    ts: int
    what: int
    item: str
    user: str
    surface: str


@dataclass(frozen=True)
class Deed:
    """Something that a user did with an item, or 'skip'."""

    ts: int
    order: int
    user: str
    item: str
    action: str


class Recount:
    """Answers one question about a log of told events at a time, with nothing kept between questions."""

    def __init__(self, told: Sequence[Logged], categories: dict[str, str]) -> None:
        self.told = list(told)
        self.categories = categories
        self.counts = [count for logged in told for count in _counts(logged)]
        self.newest = max((logged.event.ts for logged in told), default=None)

    def windows(self, now: int, **of: str) -> list[tuple[float, float]]:
        """Views and clicks by window, of an item, user, surface or category; NaN where the state is too old."""
        counts = [count for count in self.counts if self._is(count, **of)]
        found: list[tuple[float, float]] = []
        for width, size in WINDOWS:
            inside = [count for count in counts if now // width - size < count.ts // width <= now // width]
            found.append(_by_what(inside))
        found.append(_by_what(counts))
        age = None if self.newest is None else max(now - self.newest, 0)
        return [(NAN, NAN) if age is None or age > limit else pair for pair, limit in zip(found, LIMITS, strict=True)]

    def times(self, **of: str) -> tuple[int, int]:
        """When first and last, 0 when never."""
        moments = [count.ts for count in self.counts if self._is(count, **of)]
        if "user" in of:
            moments += [
                each.event.ts
                for each in self.told
                if isinstance(each.event, Interaction) and each.event.user_id == of["user"]
            ]
        return (min(moments), max(moments)) if moments else (0, 0)

    def liked(self, user: str) -> list[tuple[int, str, str]]:
        """The user's welcome actions, newest first: moment, item, action."""
        deeds = [deed for deed in self._deeds(user) if deed.action not in ("skip", "hide")]
        return [(deed.ts, deed.item, deed.action) for deed in sorted(deeds, key=lambda deed: (-deed.ts, -deed.order))]

    def disliked(self, user: str) -> list[tuple[int, str, str]]:
        """What was shown in vain or hidden, newest first."""
        deeds = [deed for deed in self._deeds(user) if deed.action in ("skip", "hide")]
        return [(deed.ts, deed.item, deed.action) for deed in sorted(deeds, key=lambda deed: (-deed.ts, -deed.order))]

    def shared(self, paired: int) -> dict[frozenset[str], int]:
        """How often two items were liked by the same user, the later within ``paired`` actions of the earlier."""
        found: dict[frozenset[str], int] = {}
        for number, logged in enumerate(self.told):
            liking = _liking(logged)
            if liking is None:
                continue
            user, item = liking
            for _, earlier, _ in Recount(self.told[:number], self.categories).liked(user)[:paired]:
                if earlier != item:
                    pair = frozenset((earlier, item))
                    found[pair] = found.get(pair, 0) + 1
        return found

    def _is(self, count: Count, item: str = "", user: str = "", surface: str = "", category: str = "") -> bool:
        if category:
            return self.categories.get(count.item) == category
        wanted = ((item, count.item), (user, count.user), (surface, count.surface))
        return all(name in ("", has) for name, has in wanted)

    def _deeds(self, user: str) -> list[Deed]:
        deeds: list[Deed] = []
        for logged in self.told:
            event = logged.event
            match event:
                case Impression() if event.user_id == user:
                    last = _next(deeds)
                    deeds += [Deed(event.ts, last + n, user, i, "skip") for n, i in enumerate(event.item_ids)]
                case Click() if logged.shown is not None and logged.shown.user_id == user:
                    vain = [
                        deed
                        for deed in deeds
                        if (deed.action, deed.item, deed.ts) == ("skip", event.item_id, logged.shown.ts)
                    ]
                    if vain:
                        deeds.remove(vain[-1])
                    deeds.append(Deed(event.ts, _next(deeds), user, event.item_id, "click"))
                case Interaction() if event.user_id == user:
                    deeds.append(Deed(event.ts, _next(deeds), user, event.item_id, event.type))
        return deeds


def _next(deeds: list[Deed]) -> int:
    return max((deed.order for deed in deeds), default=0) + 1


def _counts(logged: Logged) -> list[Count]:
    event = logged.event
    if isinstance(event, Impression):
        return [Count(event.ts, 0, item, event.user_id, event.surface) for item in event.item_ids]
    if isinstance(event, Click) and logged.shown is not None:
        return [Count(event.ts, 1, event.item_id, logged.shown.user_id, logged.shown.surface)]
    return []


def _liking(logged: Logged) -> tuple[str, str] | None:
    event = logged.event
    if isinstance(event, Click) and logged.shown is not None and logged.shown.user_id:
        return logged.shown.user_id, event.item_id
    if isinstance(event, Interaction) and event.user_id and event.type != "hide":
        return event.user_id, event.item_id
    return None


def _by_what(counts: Sequence[Count]) -> tuple[float, float]:
    return float(sum(count.what == 0 for count in counts)), float(sum(count.what == 1 for count in counts))
