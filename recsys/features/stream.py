"""Learning and asking in one run over a log: each list is answered before the operation that it may not know."""

from __future__ import annotations

import numpy as np

from recsys.compiled import compiled
from recsys.features.learn import Facts, Operations, learn_one
from recsys.features.look import look_one
from recsys.features.seen import Asked, Seen
from recsys.features.shared_clicks import no_clicks
from recsys.features.tables import Ints, Tables
from recsys.features.windows import RINGS


@compiled
def learn_and_look(
    tables: Tables,
    facts: Facts,
    told: Operations,
    asked: Asked,
    seen: Seen,
    before: Ints,
    first: int,
    last: int,
    most_users: int,
) -> None:
    """Learn operations ``first`` to ``last``, and answer each list before the operation that ``before`` numbers."""
    now, recent = np.empty((2, RINGS), np.int64), no_clicks()
    for number in range(before.size):
        for operation in range(first, before[number]):
            learn_one(tables, facts, told, operation, most_users, now)
        first = max(first, before[number])
        look_one(tables, facts, asked, seen, number, now, recent)
    for operation in range(first, last):
        learn_one(tables, facts, told, operation, most_users, now)
