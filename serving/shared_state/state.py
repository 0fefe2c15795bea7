"""Answers and learns by the shared store: the same arithmetic on the few rows that are concerned."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import structlog

from recsys.events import Logged
from recsys.features.behaviour import Behaviour
from recsys.features.context import Context
from recsys.features.feature_set import FeatureSet
from recsys.features.ground import Ground
from recsys.features.histories import recall_given
from recsys.features.keys import Keys, Slots, keys_of
from recsys.features.look import look_all
from recsys.features.seen import TASTED, Asked, Seen, blank
from recsys.features.state import FeatureState
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.schema import ACTIONS
from serving.shared_state.generation import Generation
from serving.shared_state.link import NoState
from serving.shared_state.links import Links
from serving.shared_state.part import Part, each_once, pages_of, places_in
from serving.shared_state.rows import Found, Wanted, read
from serving.shared_state.settings import RedisSettings
from serving.shared_state.writer import RedisWriter

_OPEN_S = 2.0

_log = structlog.get_logger()


class RedisState(Behaviour):
    """Learns into a store that servers share, and answers from it; the arithmetic is that of ``FeatureState``.

    Each list is answered by one call with a time limit of its own. Where no answer comes in time, or a wrong one, the
    context is ``missing``; ``missed`` counts how often, by reason. ``bundled`` is the state that the bundle came with:
    who comes first writes it into the store.
    """

    def __init__(self, url: str, bundled: FeatureState, bundle_id: str, settings: RedisSettings | None = None) -> None:
        self.settings = settings or RedisSettings()
        self.missed: Counter[str] = Counter()
        self._feature_set = bundled.feature_set
        self._ground = Ground(bundled.catalog, bundled.facts)
        self._versions: Mapping[str, int] = {}
        self._warned = 0.0
        self._lock = threading.Lock()
        self._generation = Generation(url, bundled, bundle_id, self.settings)
        self._writer = RedisWriter(url, self._ground, self._generation, self.settings)
        self._links = Links(self._generation.open_link, self.settings.connections)
        self._links.wait_open(_OPEN_S)

    @property
    def feature_set(self) -> FeatureSet:
        """The features that are computed from the answers."""
        return self._feature_set

    @property
    def generation(self) -> str:
        """What the bundle's state is called in the store."""
        return self._generation.name

    @property
    def base(self) -> bytes:
        """What the names of all its keys in the store begin with."""
        return self._generation.base

    @property
    def versions(self) -> Mapping[str, int]:
        """Up to where the store knew each event log when it was last asked."""
        return self._versions

    def join(self) -> bool:
        """Make sure that the store holds this bundle's state; False where it is away."""
        return self._writer.join()

    # -- learning

    def hear(self, told: Sequence[Logged], sequence: int | None = None) -> None:  # noqa: ARG002 - the last one's is kept
        """Learn events of this server's log; see ``RedisWriter.hear``."""
        if told:
            self._writer.hear(told)

    @property
    def behind(self) -> bool:
        """Whether the store may lack events of this server's log; until ``catch_up``, nothing is learned."""
        return self._writer.behind

    @property
    def away(self) -> bool:
        """Whether the store does not answer rankings just now."""
        return self._links.away

    def catch_up(self, log_name: str, told_after: Callable[[int], Iterable[Logged]]) -> bool:
        """Tell the store what it lacks of this server's log; see ``RedisWriter.catch_up``."""
        return self._writer.catch_up(log_name, told_after)

    @property
    def caught_up(self) -> tuple[int, int]:
        """Up to where the store knew this server's log; see ``RedisWriter.caught_up``."""
        return self._writer.caught_up

    def heard_of(self, log_name: str) -> int:
        """Ask up to where the store knows a log.

        Raises:
            NoState: it does not answer.
        """
        return self._writer.heard_of(log_name)

    def items_changed(self, rows: Slots) -> None:
        """Read rows [n] of the catalog that are new, or say something else now."""
        self._ground.items_changed(rows)

    # -- asking

    def look(self, lists: Lists) -> Context:
        """Return what is known of users and candidates now, each list at its own moment, as of one moment of the store.

        Never raises for the store's sake: see ``Context.missing``.
        """
        rows = lists.item_rows
        item_keys = self._ground.item_keys(rows)
        users, surfaces = keys_of(lists.user_ids), keys_of(lists.surfaces)
        items, places = each_once(item_keys), each_once(surfaces)
        asked = Asked(
            ts=lists.ts,
            user=users,
            surface=places_in(places, surfaces),
            given=np.array([history is not None for history in lists.histories], np.bool_),
            offsets=lists.offsets,
            row=rows,
            item=places_in(items, item_keys),
        )
        seen = blank(asked, attributes=len(self._ground.facts.values.names), actions=len(ACTIONS))
        recall_given(lists, seen)
        touched = self._ground.touched(rows)
        known = each_once(users)
        wanted = Wanted(
            users=known,
            items=items,
            categories=self._ground.category_keys[touched.categories],
            surfaces=places,
            values=pages_of(touched.values),
            chosen=self._given_choices(seen),
            choices=True,
        )
        found = self._read(wanted)
        look_all(Part(self._ground, wanted, found).tables, self._ground.learnable, asked, seen)
        known_users = np.zeros(len(lists), np.bool_)
        if found is not None:
            known_users = np.isin(users, known[found.tables["users"].there])
        return Context(
            lists=lists,
            seen=seen,
            facts=self._ground.facts,
            versions=found.heard if found else {},
            known_users=known_users,
            missing=found is None,
        )

    def close(self) -> None:
        """Close all connections."""
        self._links.close()
        self._writer.close()

    def _given_choices(self, seen: Seen) -> Keys:
        """Return the keys of the items in histories that came with the lists."""
        chosen = np.concatenate([seen.liked_row[:, :TASTED].ravel(), seen.disliked_row.ravel()])
        return each_once(self._ground.item_keys(chosen))

    def _read(self, wanted: Wanted) -> Found | None:
        deadline = time.monotonic() + self.settings.limit_s
        try:
            with self._links.borrowed(deadline) as link:
                found = read(link, self._generation.base, wanted, deadline=deadline)
            self._versions = found.heard
        except NoState as error:
            with self._lock:
                self.missed[error.reason] += 1
                self._warn(error)
            return None
        return found

    def _warn(self, error: NoState) -> None:
        """Say it, once a second at most."""
        now = time.monotonic()
        if now - self._warned >= 1:
            self._warned = now
            _log.warning(
                "ranking without the shared state", reason=error.reason, error=str(error), missed=dict(self.missed)
            )


def connect(url: str, pipeline: RankingPipeline, settings: RedisSettings | None = None) -> RedisState:
    """Join the servers that share a pipeline's behaviour, or begin with the bundle's own; nothing is replaced yet.

    Where the store is away, the returned state answers ``missing`` and is ``behind`` until a ``catch_up`` succeeds.

    Raises:
        ConfigError: the URL cannot be used.
        TypeError: the pipeline's state is not the bundle's own any more.
    """
    if not isinstance(pipeline.state, FeatureState):
        raise TypeError("this pipeline's behaviour is in a shared store already")
    state = RedisState(url, pipeline.state, pipeline.bundle_id, settings)
    state.join()
    return state
