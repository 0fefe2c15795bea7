"""A real bundle behind a real port that leaves a receipt of every ranking, and traffic for it."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsys.events import Click, Event, Impression, Interaction
from recsys.pipeline import RankingPipeline
from recsys.registry import resolve
from recsys.schema import Candidate, HistoryEntry, Item, ItemText, RankRequest
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.receipt_audit import Audit, audit
from serving.server import RankingServer

Serve = Callable[..., AbstractContextManager[RankingClient]]
HOUR_US = 3_600_000_000


@contextmanager
def served(
    registry: Path, data: Path, model: type[RankingPipeline] = RankingPipeline, **settings: Any
) -> Iterator[RankingClient]:
    """Serve a bundle on a real port, in a thread with its own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    config = ServerConfig(registry=registry, data=data, port=0, threads=2, **{"receipts": 1, **settings})
    server = RankingServer(config, lambda path: model.load(resolve(path)))
    try:
        for step in (server.start, server.load):
            asyncio.run_coroutine_threadsafe(step(), loop).result(120)
        with RankingClient(server.address, deadline_s=30) as client:
            yield client
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Traffic:
    """Users who are shown rankings and do things with them; now and then an item changes."""

    def __init__(self, client: RankingClient, item_ids: list[str], *, seed: int) -> None:
        self._client, self._rng, self._seed = client, random.Random(seed), seed
        self.items = list(item_ids)
        self._number = 0

    def run(self, rankings: int, *, items: bool = False) -> None:
        """Rank so many times; what follows from a ranking is told before the next one, or later, or twice."""
        held: list[Event] = []
        for _ in range(rankings):
            events, later = self._one()
            if self._rng.random() < 0.3:
                held += later  # such as a click whose list is told of later
            else:
                events += later
            self._client.record(events)
            if self._rng.random() < 0.2:
                self._client.record(events)  # a caller that got no answer sends again
            if len(held) > 5:
                self._client.record(held)
                held = []
            if items and self._rng.random() < 0.3:
                self._change()
        self._client.record(held)

    def _one(self) -> tuple[list[Event], list[Event]]:
        self._number += 1
        rng, name = self._rng, f"{self._seed}-{self._number}"
        user = rng.choice(["ann", "bob", "cat", ""])
        shown = rng.sample(self.items, 8)
        candidates = [Candidate(item_id=item_id) for item_id in shown]
        if rng.random() < 0.3:
            candidates.append(Candidate(item_id=f"new-{name}", text=ItemText(title="A warm coat", tags=("wool",))))
        request = RankRequest(
            request_id=f"request-{name}",
            user_id=user,
            candidates=tuple(candidates),
            ts=time.time_ns() // 1_000,
            query=rng.choice(["", "", "a small kettle"]),
            surface=rng.choice(["", "home"]),
            history=rng.choice([None, None, None, (HistoryEntry(item_id=shown[0], action="cart"),)]),
            top_k=rng.choice([0, 0, 3]),
        )
        ranking = self._client.rank_request(request)
        ids = tuple(item.item_id for item in ranking.items)
        now = time.time_ns() // 1_000
        impression = Impression(
            event_id=f"i-{name}", request_id=f"request-{name}", user_id=user, ts=now, item_ids=ids, surface="home"
        )
        click = Click(event_id=f"c-{name}", request_id=f"request-{name}", item_id=rng.choice(ids), ts=now)
        late = Interaction(
            event_id=f"x-{name}",
            user_id=user or "dan",
            item_id=rng.choice(self.items),
            type=rng.choice(["cart", "purchase", "hide"]),
            ts=now - rng.choice([0, HOUR_US, 50 * HOUR_US]),
        )
        return ([click, late], [impression]) if rng.random() < 0.5 else ([impression], [click, late])

    def _change(self) -> None:
        rng = self._rng
        match rng.randrange(3):
            case 0:
                fresh = f"item-{self._seed}-{self._number}"
                text = ItemText(title=f"A new thing {self._number}", category=rng.choice(["Toys", "Books"]))
                self._client.upsert_items([Item(item_id=fresh, text=text)])
                self.items.append(fresh)
            case 1:
                text = ItemText(title=f"Another title {self._number}", category="Books")
                self._client.upsert_items([Item(item_id=rng.choice(self.items), text=text)])
            case 2:
                gone = rng.choice(self.items)
                self._client.delete_items([gone])


@pytest.fixture
def serve(tiny_registry: Path, tmp_path: Path) -> Serve:
    """Serve the tiny bundle with this test's own data directory."""

    def start(model: type[RankingPipeline] = RankingPipeline, **settings: Any) -> AbstractContextManager[RankingClient]:
        return served(tiny_registry, tmp_path / "live", model, **settings)

    return start


@pytest.fixture
def traffic(tiny_bundle: Path) -> Callable[..., Traffic]:
    """Make traffic of the tiny bundle's items."""
    ids = RankingPipeline.load(tiny_bundle).catalog.ids

    def make(client: RankingClient, *, seed: int) -> Traffic:
        return Traffic(client, ids, seed=seed)

    return make


@pytest.fixture
def audited(tiny_bundle: Path, tmp_path: Path) -> Callable[..., Audit]:
    """Audit this test's data directory."""

    def check(**settings: Any) -> Audit:
        return audit(tmp_path / "live", lambda _: tiny_bundle, **settings)

    return check
