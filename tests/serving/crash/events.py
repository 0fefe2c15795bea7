"""What people do in the test's shop: lists, clicks around them and other events, of known and unknown ids."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from recsys.events import INTERACTIONS, Click, Event, Impression, Interaction, time_ordered_id

HOUR_US = 3_600_000_000


def made_events(count: int, rng: random.Random, items: Sequence[str], users: Sequence[str]) -> list[Event]:
    """Make events in the order in which they are sent; a click stands anywhere around its list.

    Of the items and the users some are unknown to the bundle. Some clicks are of no list, off the list, or second ones.
    """
    now_us = time.time_ns() // 1_000
    items = [*items, *(f"strange-{n}" for n in range(len(items) // 4))]
    users = ["", *users, *(f"stranger-{n}" for n in range(len(users)))]
    lists = [
        Impression(
            event_id=time_ordered_id(now_us),
            request_id=f"list-{n}",
            user_id=rng.choice(users),
            ts=now_us - rng.randrange(HOUR_US),
            item_ids=tuple(rng.sample(items, rng.randint(1, 8))),
            surface=rng.choice(["home", "search", ""]),
        )
        for n in range(count * 6 // 10)
    ]
    placed: list[tuple[float, Event]] = [(n, shown) for n, shown in enumerate(lists)]
    for n in range(count - len(lists)):
        place, event_id = rng.randrange(len(lists)), f"event-{n}"
        shown, ts = lists[place], now_us - rng.randrange(HOUR_US)
        item_id = rng.choice(shown.item_ids if rng.random() < 0.9 else items)
        event: Event = Click(event_id=event_id, request_id=shown.request_id, item_id=item_id, ts=ts)
        if n % 50 == 0:
            event = Click(event_id=event_id, request_id=f"no-list-{n}", item_id=item_id, ts=ts)
        elif n % 4 == 0:
            kind = rng.choice(INTERACTIONS)
            event = Interaction(event_id=event_id, user_id=rng.choice(users[1:]), item_id=item_id, type=kind, ts=ts)
        placed.append((place + rng.gauss(0, 50), event))
    return [event for _, event in sorted(placed, key=lambda one: one[0])]


def counted(events: Iterable[Event]) -> Counter[tuple[str, str]]:
    """Count by item and what was done with it, with nothing of the product: each click of a list and item once."""
    known = {event.event_id: event for event in events}.values()
    lists = {event.request_id: event.item_ids for event in known if isinstance(event, Impression)}
    clicks = {(event.request_id, event.item_id) for event in known if isinstance(event, Click)}
    return Counter(
        [(item_id, "view") for item_ids in lists.values() for item_id in item_ids]
        + [(item_id, "click") for request_id, item_id in clicks if item_id in lists.get(request_id, ())]
        + [(event.item_id, event.type) for event in known if isinstance(event, Interaction)]
    )
