"""The behavioural features: built from a log, asked for lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.catalog import Catalog
from recsys.errors import BundleError
from recsys.features import snapshot
from recsys.features.attributes import Numbers, Values
from recsys.features.build import Logs, build_logs
from recsys.features.context import Context, World
from recsys.features.declare import declare, fingerprint
from recsys.features.histories import Histories, histories
from recsys.features.relative import z_scores
from recsys.features.table import rounded
from recsys.lists import Lists

# Bounds on what one chunk of lists may need at once: rows, and cells of the user's profile over all attribute values.
CHUNK_ROWS = 16_384
CHUNK_CELLS = 4_000_000


class FeatureState:
    """What people did, ready to be looked up: the same in training, evaluation and serving.

    ``counters`` marks the features that rest on the log, so that a trainer can practise their absence; shape [F].
    """

    def __init__(self, catalog: Catalog, item_ids: list[str], user_ids: list[str], logs: Logs, values: Values) -> None:
        self._features = declare(catalog)
        self._relative = np.array([place for place, each in enumerate(self._features) if each.relative])
        relative = [each for each in self._features if each.relative]
        self.names: tuple[str, ...] = (
            *(each.name for each in self._features),
            *(f"{each.name}@z" for each in relative),
        )
        self.descriptions: dict[str, str] = {each.name: each.description for each in self._features}
        self.counters: npt.NDArray[np.bool_] = np.array([each.counter for each in (*self._features, *relative)])
        self.fingerprint: str = fingerprint(self.names)
        self._item_ids, self._user_ids = item_ids, user_ids
        code = {item_id: place for place, item_id in enumerate(item_ids)}
        self._world = World(
            logs=logs,
            values=values,
            numbers=Numbers.read(catalog),
            user_of_id={user_id: place for place, user_id in enumerate(user_ids)},
            item_of_row=np.array([*(code.get(item_id, -1) for item_id in catalog.ids), -1], dtype=np.int32),
            row_of_item=np.append(catalog.rows(item_ids), np.int32(-1)),
        )

    @classmethod
    def build(cls, catalog: Catalog, impressions: pl.DataFrame, events: pl.DataFrame | None = None) -> Self:
        """Make the logs of all impressions, and of further events; lists may lie before, among or after them."""
        ids = impressions["user_id"] if events is None else pl.concat([impressions["user_id"], events["user_id"]])
        user_ids = ids.filter(ids != "").unique().sort().to_list()
        values = Values.read(catalog)
        logs = build_logs(catalog, user_ids, values, impressions, events)
        return cls(catalog, catalog.ids, user_ids, logs, values)

    def features(self, lists: Lists) -> npt.NDArray[np.float32]:
        """Return the features of each candidate, from what happened strictly before its list; shape [R, F]."""
        table = np.empty((lists.item_rows.size, len(self.names)), np.float32)
        for part, rows in self._chunks(lists):
            context = Context.of(self._world, part)
            figures = np.stack([each.values(context) for each in self._features], axis=1)
            table[rows, : figures.shape[1]] = base = rounded(figures)
            table[rows, figures.shape[1] :] = rounded(z_scores(base[:, self._relative], part.offsets))
        return table

    def knows(self, user_id: str) -> bool:
        """Tell whether the log has seen this user."""
        return user_id in self._world.user_of_id

    def histories(self, lists: Lists, length: int, *, skips: bool) -> Histories:
        """Return what each list's user did last, newest first; ``skips`` adds what was shown and not clicked."""
        return histories(Context.of(self._world, lists), length, skips=skips)

    def items_changed(self) -> None:
        """Take note of rows that the catalog has gained; nothing is known of them yet."""

    def to_bytes(self) -> bytes:
        """Write a snapshot: safetensors, no pickle."""
        return snapshot.dump(self._world.logs, self._item_ids, self._user_ids, self.fingerprint)

    @classmethod
    def from_bytes(cls, data: bytes, catalog: Catalog) -> Self:
        """Read a snapshot.

        Raises:
            BundleError: the snapshot is damaged, or its features are not those of this catalog and this build.
        """
        logs, item_ids, user_ids, written = snapshot.load(data)
        state = cls(catalog, item_ids, user_ids, logs, Values.read(catalog))
        if written != state.fingerprint:
            raise BundleError(
                f"the feature state was built for features {written}, this catalog and build have {state.fingerprint}; "
                "use the item table and the version it was built with, or train again"
            )
        return state

    def _chunks(self, lists: Lists) -> Iterator[tuple[Lists, slice]]:
        if len(lists) == 1:
            yield lists, slice(0, lists.item_rows.size)
            return
        most = max(1, CHUNK_CELLS // max(self._world.values.size, 1))
        start = 0
        while start < len(lists):
            by_rows = int(np.searchsorted(lists.offsets, lists.offsets[start] + CHUNK_ROWS, "right")) - 1
            stop = min(max(by_rows, start + 1), start + most, len(lists))
            yield _part(lists, start, stop), slice(int(lists.offsets[start]), int(lists.offsets[stop]))
            start = stop


def _part(lists: Lists, start: int, stop: int) -> Lists:
    offsets = lists.offsets[start : stop + 1]
    return Lists(
        user_ids=lists.user_ids[start:stop],
        ts=lists.ts[start:stop],
        item_rows=lists.item_rows[offsets[0] : offsets[-1]],
        offsets=offsets - offsets[0],
        histories=lists.histories[start:stop],
        queries=lists.queries[start:stop],
        surfaces=lists.surfaces[start:stop],
    )
