"""Whatever happens, through whichever server: the shared state is bit by bit what one process would know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.catalog import Catalog
from recsys.features import FeatureState
from recsys.lists import GivenHistory

USERS = ["ann", "bob", "cat", ""]
ITEMS = ["tea", "mug", "pot", "saw", "axe", "new", "hat", "cap"]  # the catalog does not know the last two
Step = tuple[str, Any]


@st.composite
def histories(draw: st.DrawFn) -> list[list[Step]]:
    """Draw batches of what happened: lists, clicks on any earlier list, other events; ties and late ones among them."""
    minutes = st.sampled_from([0.0, 1.0, 1.0, 7.0, 59.5, 61.0, 300.0, 1_500.0, 9_000.0, 40_000.0])
    batches: list[list[Step]] = []
    lists: list[tuple[str, list[str]]] = []
    for _ in range(draw(st.integers(1, 6))):
        batch: list[Step] = []
        for _ in range(draw(st.integers(1, 6))):
            kind = draw(st.sampled_from(["shown", "clicked", "clicked", "did"]))
            if kind == "shown" or (kind == "clicked" and not lists):
                shown = draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=6, unique=True))
                lists.append((f"r{len(lists)}", shown))
                surface = draw(st.sampled_from(["home", "search", ""]))
                batch.append(("shown", (lists[-1][0], draw(st.sampled_from(USERS)), draw(minutes), shown, surface)))
            elif kind == "clicked":
                request, shown = draw(st.sampled_from(lists))
                batch.append(("clicked", (request, draw(st.sampled_from(shown)), draw(minutes))))
            else:
                what = draw(st.sampled_from(["cart", "purchase", "dwell", "hide", "other"]))
                user = draw(st.sampled_from(USERS[:3]))
                batch.append(("did", (user, draw(st.sampled_from(ITEMS)), what, draw(minutes))))
        batches.append(batch)
    return batches


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(batches=histories(), turns=st.lists(st.booleans(), min_size=6, max_size=6), late=st.sampled_from([0, 41_000]))
def test_two_servers_that_write_in_turn_know_what_one_process_knows(
    batches: list[list[Step]],
    turns: list[bool],
    late: float,
    catalog: Catalog,
    open_state: Callable[..., Any],
    new_prefix: Callable[[], str],
    new_log: type[Any],
    make: Any,
    ask: Any,
    differences: Any,
    kept_rows: Any,
    counted_rows: Any,
) -> None:
    prefix, memory = new_prefix(), FeatureState(catalog)
    servers = [open_state(prefix, log="log-a"), open_state(prefix, log="log-b")]
    try:
        log, clicks = new_log(), set()
        for batch, turn in zip(batches, turns, strict=False):
            events = []
            for kind, given_ in batch:
                if kind == "clicked" and given_[:2] in clicks:
                    continue  # no log tells a second click of the same list on the same item
                clicks.add(given_[:2] if kind == "clicked" else None)
                events.append(getattr(make, kind)(*given_))
            told = log.add(*events)
            servers[turn].hear(told)
            memory.hear(told)
            history = GivenHistory(
                rows=np.array([3, 1], np.int32), actions=np.array([1, 6], np.int8), ts=np.zeros(2, np.int64)
            )
            for user in ("ann", "dan"):
                for given_history in (None, history):
                    lists = ask(user, late + 300, ITEMS, history=given_history)
                    answer = servers[not turn].look(lists)
                    assert not answer.missing
                    assert differences(answer, memory.look(lists)) == []
        assert kept_rows(prefix) == {**counted_rows(memory), **zero_rows(kept_rows(prefix))}
    finally:
        for server in servers:
            server.close()


def zero_rows(rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the rows of which nothing was ever learned: the bundle's own, which are written at the beginning."""
    return {name: row for name, row in rows.items() if name[:1] in b"icv" and not any(row[8:])}
