"""One declaration, two executions: events as they come in, and a log replayed, give what a plain recount gives."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalog import Catalog
from recsys.events import Click, Event, Impression, Interaction, Logged
from recsys.features import FeatureState
from recsys.features.event_operations import event_operations
from recsys.features.remember import PAIRED
from recsys.features.shared_clicks import CO_SMOOTHING, RECENT
from recsys.features.snapshot import load
from recsys.lists import Lists
from recsys.schema import ACTIONS, Candidate, RankRequest

# The nightly profile asks for ten times as many: RECSYS_PARITY_LOGS=20000.
LOGS = int(os.environ.get("RECSYS_PARITY_LOGS", "2000"))
START = 1_714_521_600_000_000  # midnight, so that one moment can be the edge of buckets of every width
SECOND = 1_000_000
ITEMS = ["tea", "mug", "pot", "saw", "axe", "new", "unheard-of"]
USERS = ["ann", "bob", ""]
# Ties, and steps to the last moment of a bucket, over its edge, and out of every window.
STEPS = [0, 0, 0, 1, 30 * SECOND, 60 * SECOND - 1, 60 * SECOND, 300 * SECOND, 3_600 * SECOND - 1, 3_600 * SECOND]
STEPS += [86_399 * SECOND, 86_400 * SECOND, 6 * 86_400 * SECOND, 7 * 86_400 * SECOND, 31 * 86_400 * SECOND]


def _recount() -> Any:
    """The module beside this file; tests are no package, so it is loaded by its path."""
    name = "recount"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("recount.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


Recount = _recount().Recount


@pytest.fixture(scope="session")
def blank(catalog: Catalog) -> FeatureState:
    """A state that has heard nothing, to be copied."""
    return FeatureState(catalog)


# A log: events, "restart", or the moment of a question.
Line = Logged | str | int


@st.composite
def _lines(draw: st.DrawFn) -> list[Line]:
    """Draw a log in the order of arrival: a clock that stands still or runs, and events that tell of earlier."""
    lines: list[Line] = []
    shown: list[Impression] = []
    clicked: set[tuple[str, str]] = set()
    now = START
    for number in range(1, draw(st.integers(1, 14)) + 1):
        now += draw(st.sampled_from(STEPS))
        kind = draw(st.sampled_from("iiicccaarq"))
        late = draw(st.sampled_from([0, 0, 0, *STEPS]))
        event: Event | None = None
        user, item = draw(st.sampled_from(USERS)), draw(st.sampled_from(ITEMS))
        if kind == "i":
            items = tuple(draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4, unique=True)))
            surface = draw(st.sampled_from(["", "home"]))
            event = Impression(
                event_id=f"e{number}", request_id=f"r{number}", user_id=user, ts=now - late, item_ids=items,
                surface=surface,
            )  # fmt: skip
            shown.append(event)
        elif kind == "c" and shown:
            where = draw(st.sampled_from(shown))
            what = draw(st.sampled_from(where.item_ids))
            if (where.request_id, what) not in clicked:
                clicked.add((where.request_id, what))
                click = Click(event_id=f"e{number}", request_id=where.request_id, item_id=what, ts=now - late)
                lines.append(Logged(sequence=number, event=click, shown=where))
        elif kind == "a" and user:
            action = draw(st.sampled_from(["cart", "hide", "other"]))
            event = Interaction(event_id=f"e{number}", user_id=user, item_id=item, type=action, ts=now - late)
        elif kind == "r":
            lines.append("restart")
        else:
            lines.append(now)
        if event is not None:
            lines.append(Logged(sequence=number, event=event))
    return [*lines, now]


def _question(catalog: Catalog, now: int, user: str) -> Lists:
    candidates = tuple(Candidate(item_id=item) for item in ITEMS)
    return Lists.from_requests([RankRequest(user_id=user, candidates=candidates, ts=now, surface="home")], catalog)


def _online(blank: FeatureState, lines: list[Line]) -> list[Any]:
    """Hear the events one by one, with restarts, and answer on the way."""
    catalog, state = blank.catalog, blank.fresh()
    answers = []
    for line in lines:
        if isinstance(line, Logged):
            state.hear([line], line.sequence)
        elif line == "restart":
            read = load(state.to_bytes())
            state = blank.fresh()
            state.restore(read.tables, read.value_keys)
        else:
            answers += [state.look(_question(catalog, int(line), user)) for user in USERS]
    return answers


def _offline(blank: FeatureState, lines: list[Line]) -> Any:
    """Encode the whole log at once, and answer all questions in one run over it."""
    catalog, state = blank.catalog, blank.fresh()
    told = event_operations(state, catalog, [line for line in lines if isinstance(line, Logged)])
    questions, before, heard = [], [], 0
    for line in lines:
        heard += isinstance(line, Logged)
        if isinstance(line, int):
            questions += [_question(catalog, line, user) for user in USERS]
            before += [heard] * len(USERS)
    together = Lists(
        user_ids=[name for each in questions for name in each.user_ids],
        ts=np.concatenate([each.ts for each in questions]),
        item_rows=np.concatenate([each.item_rows for each in questions]),
        offsets=np.arange(len(questions) + 1) * len(ITEMS),
        histories=[None] * len(questions),
        queries=[""] * len(questions),
        surfaces=["home"] * len(questions),
    )
    return state.learn_and_look(told, together, np.array(before))


@settings(max_examples=LOGS, deadline=None)
@given(lines=_lines())
def test_events_heard_a_log_replayed_and_a_plain_recount_agree(blank: FeatureState, lines: list[Line]) -> None:
    features = blank.feature_set

    online, offline = _online(blank, lines), _offline(blank, lines)

    for name in offline.seen._fields:
        apart = np.concatenate([getattr(answer.seen, name) for answer in online])
        assert apart.tobytes() == getattr(offline.seen, name).tobytes(), name
    tables = np.concatenate([features.table(answer) for answer in online])
    assert tables.tobytes() == features.table(offline).tobytes()
    catalog, answers = blank.catalog, iter(online)
    categories = dict(zip(catalog.ids, catalog.items["category"], strict=True))
    for place, line in enumerate(lines):
        if not isinstance(line, int):
            continue
        recount = Recount([each for each in lines[:place] if isinstance(each, Logged)], categories)
        shared = recount.shared(PAIRED)
        for user in USERS:
            seen = next(answers).seen
            _compare(catalog, recount, seen, line, user)
            _compare_shared(catalog, recount, shared, seen, user)


def _compare(catalog: Catalog, recount: Any, seen: Any, now: int, user: str) -> None:
    nothing = [(float("nan"),) * 2 if np.isnan(pair).any() else (0.0, 0.0) for pair in recount.windows(now)]
    for place, item in enumerate(ITEMS):
        category = recount.categories.get(item, "")
        # An item that the catalog does not know is counted, in case it becomes known, and not shown.
        known = item in recount.categories
        assert _equal(seen.item[place], recount.windows(now, item=item) if known else nothing)
        assert _equal(seen.category[place], recount.windows(now, category=category) if category else nothing)
        assert tuple(seen.item_times[place]) == (recount.times(item=item) if known else (0, 0))
    assert _equal(seen.user[0], recount.windows(now, user=user) if user else nothing)
    assert _equal(seen.surface[0], recount.windows(now, surface="home") if _home(recount) else nothing)
    assert tuple(seen.user_times[0]) == (recount.times(user=user) if user else (0, 0))
    views, clicks = recount.windows(recount.newest or now)[-1]
    assert seen.prior[0] == pytest.approx((np.nan_to_num(clicks) + 1) / (np.nan_to_num(views) + 10), abs=1e-9)
    for kind, remembered in (("liked", recount.liked), ("disliked", recount.disliked)):
        told = remembered(user) if user else []
        actions = getattr(seen, f"{kind}_action")[0]
        length = int((actions > 0).sum())
        assert length == len(told)
        assert [ACTIONS[action] for action in actions[:length]] == [action for *_, action in told]
        assert getattr(seen, f"{kind}_ts")[0, :length].tolist() == [ts for ts, *_ in told]
        rows = getattr(seen, f"{kind}_row")[0, :length]
        assert rows.tolist() == catalog.rows([item for _, item, _ in told]).tolist()


def _equal(seen: Any, counted: Any) -> bool:
    return np.array_equal(seen, np.array(counted), equal_nan=True)


def _compare_shared(catalog: Catalog, recount: Any, shared: Any, seen: Any, user: str) -> None:
    clicks: dict[str, int] = {}
    for count in recount.counts:
        clicks[count.item] = clicks.get(count.item, 0) + count.what
    recent = [item for _, item, _ in recount.liked(user)[:RECENT] if item in catalog.ids] if user else []
    for place, item in enumerate(ITEMS[:-1]):
        own = clicks.get(item, 0) + CO_SMOOTHING
        closeness = [
            shared.get(frozenset((item, other)), 0) / np.sqrt(own * (clicks.get(other, 0) + CO_SMOOTHING))
            for other in recent
            if other != item
        ]
        assert seen.shared[place, 0] == pytest.approx(sum(closeness), abs=1e-9)
        assert seen.shared[place, 1] == pytest.approx(max(closeness, default=0.0), abs=1e-9)


def _home(recount: Any) -> bool:
    return any(count.surface == "home" for count in recount.counts)


def test_a_recount_that_forgets_one_event_is_found(blank: FeatureState) -> None:
    shown = Impression(event_id="e1", request_id="r1", user_id="ann", ts=START, item_ids=("tea", "mug"))
    lines: list[Line] = [Logged(sequence=1, event=shown), START + SECOND]
    (seen, *_) = (answer.seen for answer in _online(blank, lines))

    with pytest.raises(AssertionError):
        _compare(blank.catalog, Recount([], dict.fromkeys(ITEMS, "")), seen, START + SECOND, "ann")
