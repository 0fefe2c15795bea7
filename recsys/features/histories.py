"""What a user did last: from the log, or from a history that came with the list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features.build import DISLIKES
from recsys.features.context import HOUR, Context
from recsys.features.log import ActionLog, Ints

# How many of a user's last clicks and of the last items shown in vain the features look at.
LIKED = 32
DISLIKED = 96
UNKNOWN_AGE = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """The last H things that the user of each list did before it, newest first; all arrays have shape [L, H].

    ``rows`` are catalog rows, -1 padded and for items the catalog does not know; ``actions`` are codes, 0 where padded;
    ``ages`` are hours, 0 where padded and -1 where a given history does not say when.
    """

    rows: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int8]
    ages: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Like ``Histories``, with moments: ``ts`` in UTC microseconds, 0 where unknown or padded."""

    rows: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int8]
    ts: Ints


def liked(context: Context) -> Past:
    """Return the user's last clicks and other welcome actions."""
    return _past(context, context.world.logs.liked, LIKED, dislikes=False)


def disliked(context: Context) -> Past:
    """Return the last items that were shown to the user in vain, or hidden."""
    return _past(context, context.world.logs.disliked, DISLIKED, dislikes=True)


def histories(context: Context, length: int, *, skips: bool) -> Histories:
    """Return the last ``length`` actions; with ``skips``, what was shown in vain stands among them by time."""
    past = _past(context, context.world.logs.liked, length, dislikes=False)
    if skips:
        past = _merge(past, _past(context, context.world.logs.disliked, length, dislikes=True), length)
    ages = np.maximum(context.lists.ts[:, None] - past.ts, 0) / HOUR
    ages = np.where(past.ts > 0, ages, np.where(past.actions > 0, UNKNOWN_AGE, 0.0))
    return Histories(rows=past.rows, actions=past.actions, ages=ages.astype(np.float32))


def _merge(first: Past, second: Past, length: int) -> Past:
    rows, actions, ts = (
        np.concatenate([getattr(first, name), getattr(second, name)], axis=1) for name in ("rows", "actions", "ts")
    )
    # Stable: at equal moments clicks stay before skips, and given entries without a time keep their order.
    order = np.argsort(np.where(actions > 0, -ts, 1), axis=1, kind="stable")[:, :length]
    return Past(
        rows=np.take_along_axis(rows, order, axis=1),
        actions=np.take_along_axis(actions, order, axis=1),
        ts=np.take_along_axis(ts, order, axis=1),
    )


def _past(context: Context, log: ActionLog, length: int, *, dislikes: bool) -> Past:
    world, lists = context.world, context.lists
    places = log.newest(context.users, context.ticks, length)
    if log.items.size:
        real = places >= 0
        rows = np.where(real, world.row_of_item[log.items[places]], -1).astype(np.int32)
        actions = np.where(real, log.actions[places], 0).astype(np.int8)
        ts = np.where(real, world.logs.axis[log.order[places] % log.span], 0)
    else:
        rows, actions, ts = np.full(places.shape, -1, np.int32), np.zeros(places.shape, np.int8), np.zeros_like(places)
    for index, given in enumerate(lists.histories):
        if given is not None:
            rows[index], actions[index], ts[index] = -1, 0, 0
            chosen = np.flatnonzero(np.isin(given.actions, DISLIKES) == dislikes)[::-1][:length]
            rows[index, : chosen.size] = given.rows[chosen]
            actions[index, : chosen.size] = given.actions[chosen]
            ts[index, : chosen.size] = given.ts[chosen]
    return Past(rows=rows, actions=actions, ts=ts)
