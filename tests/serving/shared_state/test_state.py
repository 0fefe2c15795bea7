"""A shared state answers as the one in this process does: the same tests for both."""

from __future__ import annotations

from typing import Any

from recsys.features import FeatureState
from recsys.features.windows import WINDOW_NAMES

_EVER = WINDOW_NAMES.index("ever")


def test_what_is_heard_is_known_to_the_next_list(store: Any, event_log: Any, make: Any, ask: Any) -> None:
    store.hear(event_log.add(make.shown("r1", "ann", 0, ["tea", "saw"]), make.clicked("r1", "saw", 1)))

    seen = store.look(ask("ann", 2, ["tea", "saw", "pot"])).seen

    assert seen.item[:, _EVER].tolist() == [[1, 0], [1, 1], [0, 0]]
    assert seen.user[0, _EVER].tolist() == [2, 1]
    assert seen.liked_row[0, 0] == 3


def test_smoke(
    catalog: Any, open_state: Any, prefix: str, event_log: Any, make: Any, ask: Any, differences: Any
) -> None:
    memory = FeatureState(catalog)
    state = open_state(prefix)
    told = event_log.add(
        make.shown("r1", "ann", 0, ["tea", "saw"]), make.clicked("r1", "saw", 1), make.did("ann", "zzz", "cart", 3)
    )
    memory.hear(told)
    state.hear(told)
    a = state.look(ask("ann", 2, ["tea", "saw", "pot"])).seen
    b = memory.look(ask("ann", 2, ["tea", "saw", "pot"])).seen
    print(a.surface, b.surface, a.category, b.category)
    assert (
        differences(state.look(ask("ann", 2, ["tea", "saw", "pot"])), memory.look(ask("ann", 2, ["tea", "saw", "pot"])))
        == []
    )
    state.close()
