"""What a user did last: as the state remembers it, or as a history that came with the list says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from recsys.features.context import Context
from recsys.features.seen import Seen
from recsys.features.tables import Ints
from recsys.features.windows import HOUR
from recsys.lists import Lists
from recsys.schema import ACTION_CODE

DISLIKES = (ACTION_CODE["skip"], ACTION_CODE["hide"])
UNKNOWN_AGE = -1.0
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """The last H things that the user of each list did before it, newest first; all arrays have shape [L, H].

    ``rows`` are catalog rows, -1 padded and for items the catalog does not know; ``actions`` are codes, 0 where padded;
    ``ages`` are hours, 0 where padded and -1 where a given history does not say when.
    """

    rows: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int8]
    ages: npt.NDArray[np.float32]


def histories(context: Context, length: int, *, skips: bool) -> Histories:
    """Return the last ``length`` actions; with ``skips``, what was shown in vain stands among them by time."""
    seen = context.seen
    rows, actions, ts = seen.liked_row, seen.liked_action, seen.liked_ts
    if skips:
        rows = np.concatenate([rows, seen.disliked_row], axis=1)
        actions = np.concatenate([actions, seen.disliked_action], axis=1)
        ts = np.concatenate([ts, seen.disliked_ts], axis=1)
        # Stable: at equal moments clicks stay before skips, and given entries without a time keep their order.
        order = np.argsort(np.where(actions > 0, -ts, 1), axis=1, kind="stable")[:, :length]
        rows, actions = np.take_along_axis(rows, order, axis=1), np.take_along_axis(actions, order, axis=1)
        ts = np.take_along_axis(ts, order, axis=1)
    rows, actions, ts = _of_length(rows, length, -1), _of_length(actions, length, 0), _of_length(ts, length, 0)
    ages = np.maximum(context.lists.ts[:, None] - ts, 0) / HOUR
    ages = np.where(ts > 0, ages, np.where(actions > 0, UNKNOWN_AGE, 0.0))
    return Histories(rows=rows, actions=actions, ages=ages.astype(np.float32))


def recall_given(lists: Lists, seen: Seen) -> None:
    """Write the histories that came with lists where those of the state would stand."""
    parts: tuple[tuple[bool, npt.NDArray[np.int32], npt.NDArray[np.int8], Ints], ...] = (
        (False, seen.liked_row, seen.liked_action, seen.liked_ts),
        (True, seen.disliked_row, seen.disliked_action, seen.disliked_ts),
    )
    for index, given in enumerate(lists.histories):
        if given is None:
            continue
        for dislikes, rows, actions, ts in parts:
            chosen = np.flatnonzero(np.isin(given.actions, DISLIKES) == dislikes)[::-1][: rows.shape[1]]
            rows[index, : chosen.size] = given.rows[chosen]
            actions[index, : chosen.size] = given.actions[chosen]
            ts[index, : chosen.size] = given.ts[chosen]


def _of_length(column: npt.NDArray[Number], length: int, blank: int) -> npt.NDArray[Number]:
    if column.shape[1] >= length:
        return column[:, :length]
    return np.pad(column, ((0, 0), (0, length - column.shape[1])), constant_values=blank)
