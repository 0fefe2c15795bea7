"""What people did, ready to be looked up: learned event by event, asked list by list."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog
from recsys.columns import longer
from recsys.errors import BundleError
from recsys.events import Logged
from recsys.features import snapshot
from recsys.features.context import Context
from recsys.features.event_operations import event_operations
from recsys.features.facts import CatalogFacts
from recsys.features.feature_set import FeatureSet
from recsys.features.histories import Histories, histories, recall_given
from recsys.features.keys import NOBODY, Keys, Slots, append_all, empty_index, find, find_all, key_of, keys_of
from recsys.features.learn import Facts, Operations, learn
from recsys.features.look import look_all
from recsys.features.seen import Asked, Seen, blank
from recsys.features.slots import placed
from recsys.features.stream import learn_and_look
from recsys.features.tables import Ints, Items, Keyed, Tables, Users, bytes_per_row, empty_tables, grown
from recsys.lists import Lists
from recsys.schema import ACTIONS

# Beyond so many users, a new one takes the place of one who was not seen for long.
MOST_USERS = 2_000_000
# How many ids that the catalog does not know are counted, in case they become known.
MOST_STRANGE_ITEMS = 100_000


class FeatureState:
    """The behaviour of users and items up to a moment, in memory; safe to ask and to teach from several threads."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        features: FeatureSet | None = None,
        facts: CatalogFacts | None = None,
        most_users: int = MOST_USERS,
        learned: snapshot.Snapshot | None = None,
    ) -> None:
        self.feature_set = features or FeatureSet(catalog)
        self.catalog = catalog
        self._facts = facts or CatalogFacts(catalog)
        self._tables = empty_tables(values=self._facts.values.size)
        self._most_users = most_users
        self.log_name = ""
        self.heard = 0
        # Rankings read under the one, a snapshot under the other, so that neither waits for the other; who changes
        # anything takes both.
        self._lock, self._learning = Lock(), Lock()
        self._slot_of_row = np.zeros(0, np.int32)
        self._category_of_row = np.zeros(0, np.int32)
        self._learnable: Facts
        if learned is None:
            self._read_catalog()
        else:
            self._check(learned.fingerprint)
            self.restore(learned.tables, learned.value_keys)

    @classmethod
    def build(cls, catalog: Catalog, impressions: pl.DataFrame, events: pl.DataFrame | None = None) -> Self:
        """Learn a whole log; what a list may know of it before its own moment, ``recsys.features.replay`` says."""
        from recsys.features.replay import replay  # noqa: PLC0415  # which is built on this module

        state = cls(catalog)
        for _ in replay(state, impressions, events):
            pass
        return state

    # -- learning

    def learn(self, told: Operations, first: int = 0, last: int | None = None) -> None:
        """Learn operations in order; their slots must come from ``item_slots`` and ``surface_slots``."""
        with self._learning, self._lock:
            end = told.kind.size if last is None else last
            self._make_room(told.user[first:end])
            learn(self._tables, self._learnable, told, first, end, self._most_users)

    @property
    def versions(self) -> dict[str, int]:
        """Up to where the event log is known, by its name; empty before a log is followed."""
        return {self.log_name: self.heard} if self.log_name else {}

    def follow(self, log_name: str, sequence: int) -> None:
        """Take note of which event log is told of, and up to where it is known."""
        with self._learning, self._lock:
            self.log_name, self.heard = log_name, sequence

    def hear(self, told: Sequence[Logged], sequence: int | None = None) -> None:
        """Learn events as the log tells them, and know the log up to ``sequence`` then; by default their last."""
        if sequence is None:
            sequence = told[-1].sequence if told else self.heard
        operations = event_operations(self, self.catalog, told)
        with self._learning, self._lock:
            self._make_room(operations.user)
            learn(self._tables, self._learnable, operations, 0, operations.kind.size, self._most_users)
            self.heard = sequence

    def learn_and_look(
        self, told: Operations, lists: Lists, before: Ints, first: int = 0, last: int | None = None
    ) -> Context:
        """Learn operations in order, and answer each list before the operation whose number ``before`` says."""
        asked = self.asked(lists)
        seen = self.blank(asked, lists)
        end = told.kind.size if last is None else last
        with self._learning, self._lock:
            self._make_room(told.user[first:end])
            learn_and_look(self._tables, self._learnable, told, asked, seen, before, first, end, self._most_users)
        return Context(lists=lists, seen=seen, facts=self._facts)

    def item_slots(self, rows: Slots, strange: Keys | None = None) -> Slots:
        """Return the slots of catalog rows; where a row is -1, a place for its key in ``strange``, -1 without room."""
        slots = np.where(rows >= 0, self._slot_of_row[rows], -1).astype(np.int32)
        if strange is not None:
            unknown = np.flatnonzero((rows < 0) & (strange != NOBODY))
            most = self._facts.items + MOST_STRANGE_ITEMS
            with self._learning, self._lock:
                found, items = placed(self._tables.items, strange[unknown], most)
                self._tables = self._tables._replace(items=items)
            slots[unknown] = found
        return slots

    def surface_slots(self, surfaces: list[str], *, place: bool) -> Slots:
        """Return the slots of surfaces, -1 for the empty name, and for unknown ones unless they are to be placed."""
        known = {name: key_of(name) if name else NOBODY for name in set(surfaces)}
        keys = np.array([known[name] for name in surfaces], np.int64)
        if not place:
            return find_all(self._tables.surfaces.cells, self._tables.surfaces.slots, keys)
        with self._learning, self._lock:
            slots, table = placed(self._tables.surfaces, keys, 10_000)
            self._tables = self._tables._replace(surfaces=table)
        return slots

    def items_changed(self, rows: Slots) -> None:
        """Read rows [n] of the catalog that are new, or say something else now."""
        with self._learning, self._lock:
            self._facts.read(self.catalog, rows)
            self._read_catalog(rows)

    # -- asking

    def look(self, lists: Lists) -> Context:
        """Return what is known of users and candidates now, each list at its own moment."""
        asked = self.asked(lists)
        seen = self.blank(asked, lists)
        with self._lock:
            look_all(self._tables, self._learnable, asked, seen)
            versions = self.versions
            known = find_all(self._tables.users.cells, self._tables.users.slots, asked.user) >= 0
        return Context(lists=lists, seen=seen, facts=self._facts, versions=versions, known_users=known)

    @property
    def busy(self) -> bool:
        """Whether ``look`` would wait now, for what is being learned or another answer."""
        return self._lock.locked()

    def features(self, lists: Lists) -> npt.NDArray[np.float32]:
        """Return the features of each candidate; shape [R, F]."""
        return self.feature_set.table(self.look(lists))

    def histories(self, lists: Lists, length: int, *, skips: bool) -> Histories:
        """Return what each list's user did last, newest first; ``skips`` adds what was shown and not clicked."""
        return histories(self.look(lists), length, skips=skips)

    def knows(self, user_id: str) -> bool:
        """Tell whether anything was ever learned of this user."""
        users = self._tables.users
        return bool(user_id) and find(users.cells, users.slots, key_of(user_id)) >= 0

    def asked(self, lists: Lists) -> Asked:
        """Encode lists for ``look``."""
        return Asked(
            ts=lists.ts,
            user=keys_of(lists.user_ids),
            surface=self.surface_slots(lists.surfaces, place=False),
            given=np.array([history is not None for history in lists.histories], np.bool_),
            offsets=lists.offsets,
            row=lists.item_rows,
            item=self.item_slots(lists.item_rows),
        )

    def blank(self, asked: Asked, lists: Lists) -> Seen:
        """Make room for an answer, with the histories that came with the lists in it."""
        seen = blank(asked, attributes=len(self._facts.values.names), actions=len(ACTIONS))
        recall_given(lists, seen)
        return seen

    # -- size, snapshot

    @property
    def facts(self) -> CatalogFacts:
        """What the catalog says; the codes of values are those of the items that it began with."""
        return self._facts

    @property
    def bytes_by_table(self) -> dict[str, tuple[int, int]]:
        """Return how many rows each table holds, and how many bytes a row takes."""
        tables = self._tables
        named: dict[str, Items | Users | Keyed] = {
            "items": tables.items,
            "users": tables.users,
            "categories": tables.categories,
            "surfaces": tables.surfaces,
        }
        return {name: (int(table.used[0]), bytes_per_row(table)) for name, table in named.items()}

    def to_bytes(self) -> bytes:
        """Write a snapshot: safetensors, no pickle."""
        with self._learning:  # copied, because writing down takes far longer than copying
            columns = snapshot.columns(self._tables)
            versions = self.versions
        return snapshot.dump(columns, self._facts.values.keys(), self.feature_set.fingerprint, versions)

    def recall(self, data: bytes, log_name: str, newest: int | None = None) -> int:
        """Take over a snapshot of a state that followed an event log, and return up to where it knows that log.

        Returns:
            0, and nothing is taken over, if the snapshot is about another log, or knows more of it than there is
            (``newest``), as it does where an older copy of the log was put in its place.

        Raises:
            BundleError: the snapshot is damaged, or of other features.
        """
        read = snapshot.load(data)
        self._check(read.fingerprint)
        known = read.versions.get(log_name, 0)
        if log_name not in read.versions or (newest is not None and known > newest):
            return 0
        self.restore(read.tables, read.value_keys)
        return known

    @classmethod
    def from_bytes(cls, data: bytes, catalog: Catalog, *, most_users: int = MOST_USERS) -> Self:
        """Read a snapshot.

        Raises:
            BundleError: the snapshot is damaged, or its features are not those of this catalog and this build.
        """
        return cls(catalog, most_users=most_users, learned=snapshot.load(data))

    def fresh(self) -> FeatureState:
        """Return a state of the same catalog that has heard nothing; what the catalog says is shared."""
        return FeatureState(self.catalog, features=self.feature_set, facts=self._facts, most_users=self._most_users)

    def restore(self, tables: Tables, value_keys: Keys) -> None:
        """Take over what another state has learned; values that this catalog does not have are forgotten."""
        own = self._facts.values.keys()
        cells, slots = empty_index(value_keys.size)
        append_all(cells, slots, value_keys, 0)
        places = find_all(cells, slots, own)
        values = np.zeros((own.size, 2), np.int64)
        values[places >= 0] = tables.values[places[places >= 0]]
        with self._learning, self._lock:
            self._tables = tables._replace(values=values)
            self._read_catalog()

    def _check(self, written: str) -> None:
        if written != self.feature_set.fingerprint:
            raise BundleError(
                f"the feature state was built for features {written}, this catalog and build have "
                f"{self.feature_set.fingerprint}; use the item table and the version it was built with, or train again"
            )

    def _make_room(self, for_users: Keys) -> None:
        users = self._tables.users
        wanted = min(int(users.used[0]) + for_users.size, self._most_users)
        self._tables = self._tables._replace(users=grown(users, wanted))

    def _read_catalog(self, rows: Slots | None = None) -> None:
        """Give rows [n] of the catalog, by default all, their slots, and make what the loops read."""
        facts = self._facts
        rows = np.arange(facts.rows, dtype=np.int32) if rows is None else rows
        slots, items = placed(self._tables.items, facts.keys[rows], None)
        category, categories = placed(self._tables.categories, facts.categories[rows], None)
        self._tables = self._tables._replace(items=items, categories=categories)
        if (room := len(facts.keys)) > len(self._slot_of_row):
            self._slot_of_row = longer(self._slot_of_row, room, -1)
            self._category_of_row = longer(self._category_of_row, room, -1)
        self._slot_of_row[rows], self._category_of_row[rows] = slots, category
        self._learnable = facts.learnable(self._category_of_row)
