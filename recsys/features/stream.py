"""Learning and asking in one run over a log: each list is answered before the operation that it may not know."""

from __future__ import annotations

from recsys.features.compiled import compiled
from recsys.features.learn import Facts, Operations, learn
from recsys.features.look import Asked, Seen, look
from recsys.features.tables import Ints, Tables


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
    for number in range(before.size):
        learn(tables, facts, told, first, before[number], most_users)
        first = max(first, before[number])
        look(tables, facts, asked, seen, number)
    learn(tables, facts, told, first, last, most_users)
