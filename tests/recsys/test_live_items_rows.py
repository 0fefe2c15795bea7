"""An item that changes takes a row that it had before, and no ranking sees that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.features.keys import find_all, keys_of
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, HistoryEntry, ItemText
from recsys.text.model import TextModel
from tests.recsys.changing_items import apart, ask, blocked, finish, frame, outputs, rank, text_of, vector, wait_for


def test_an_item_occupies_two_rows_however_often_it_changes(pipeline: RankingPipeline) -> None:
    given, ids = len(pipeline.catalog), [*pipeline.catalog.ids[:2], "new"]
    for version in range(200):
        pipeline.upsert(frame(*({"item_id": each, "title": f"Version {version} of {each}"} for each in ids)))
        finish(pipeline)
        if version % 50 == 7:
            pipeline.delete(ids[1:])
    finish(pipeline)

    assert len(pipeline.catalog) == given + 2 + 2
    assert len(pipeline.catalog._table.items) < given + 4 + 65 * 3
    assert [text_of(pipeline, each).title for each in ids] == [f"Version 199 of {each}" for each in ids]
    assert [vector(pipeline, each) for each in ids] == [apart(pipeline, text_of(pipeline, each)) for each in ids]
    # Nothing is kept of what they said.
    assert len(pipeline.items.reader._row_of_text) <= 6
    assert rank(pipeline, *ids, "unknown").unknown_items == ("unknown",)


def test_an_item_that_has_changed_often_ranks_as_one_that_has_changed_once(
    opened: Callable[..., RankingPipeline],
) -> None:
    often, once = opened(), opened()
    row = once.catalog.items.row(0, named=True)
    last = {**row, "title": "A coat", "category": "Coats", "tags": ["warm"]}
    for title in ("One", "Two", "Three", "Four"):
        often.upsert(frame({**row, "title": title, "category": title, "tags": [title]}))
        finish(often)
    for pipeline in (often, once):
        pipeline.upsert(frame(last))
        finish(pipeline)

    for fields in ({}, {"query": "a warm coat"}, {"history": (HistoryEntry(item_id=row["item_id"], action="click"),)}):
        tables = [
            pipeline.rank_many([ask(pipeline, *pipeline.catalog.ids[:20], **fields)])[0].table.tobytes()
            for pipeline in (often, once)
        ]
        assert tables[0] == tables[1]


def test_what_a_ranking_has_looked_up_stays_while_its_items_change(pipeline: RankingPipeline) -> None:
    item_id = pipeline.catalog.ids[0]

    def change() -> None:
        for title in ("One", "Two", "Three", "Four"):
            pipeline.upsert(frame({"item_id": item_id, "title": title}))
            finish(pipeline)

    def seen(row: int) -> tuple[str, bytes]:
        vectors, logits = pipeline.vectors.at(np.array([row]))
        return pipeline.catalog.texts([row])[0].title, vectors.tobytes() + logits.tobytes()

    with pipeline.items.reading():
        (row,) = pipeline.catalog.rows([item_id])
        before = seen(row)
        change()
        assert seen(row) == before

    change()  # the control: nobody reads any more
    assert seen(row) != before


@pytest.mark.parametrize("asked", ["rank", "explain"])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_ranking_is_of_what_it_has_looked_up_though_its_items_change_meanwhile(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch, asked: str, guarded: bool
) -> None:
    ids = pipeline.catalog.ids[:3]
    request, look = ask(pipeline, *ids), pipeline.state.look

    def answer() -> str:
        said = pipeline.explain(request) if asked == "explain" else pipeline.rank_many([request])[0].table.tolist()
        return str(said)  # what is no number is not equal to itself

    def changed_meanwhile(lists: Lists) -> Any:
        seen = look(lists)
        for title in ("One", "Two", "Three", "Four"):
            pipeline.upsert(frame(*({"item_id": each, "title": title, "category": title} for each in ids)))
            finish(pipeline)
        return seen

    expected = answer()
    monkeypatch.setattr(pipeline.state, "look", changed_meanwhile)
    if not guarded:
        monkeypatch.setattr(pipeline.items, "reading", nullcontext)

    assert (answer() == expected) == guarded


def test_the_row_of_a_deleted_item_stays_while_a_history_may_lead_to_it(pipeline: RankingPipeline) -> None:
    item_id = pipeline.catalog.ids[0]
    row = pipeline.catalog.items.row(0, named=True)
    (key,), facts = keys_of([item_id]), pipeline.own_state.facts

    def come_again(*titles: str) -> None:
        for title in titles:
            pipeline.upsert(frame({**row, "title": title, "category": title}))
            finish(pipeline)

    pipeline.delete([item_id])
    with pipeline.items.reading():
        (found,) = find_all(facts.row_cells, facts.row_slots, np.array([key]))
        before = facts.categories[found]
        come_again("One", "Two")
        assert facts.categories[found] == before

    come_again("Three", "Four")
    assert facts.categories[found] != before
    assert len(pipeline.catalog) <= len(set(pipeline.catalog.ids)) + 2


def test_a_row_whose_text_is_being_read_is_not_taken(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id, given = pipeline.catalog.ids[0], len(pipeline.catalog)
    release = blocked(pipeline, monkeypatch)
    for title in ("One", "Two", "Three", "Four"):
        pipeline.upsert(frame({"item_id": item_id, "title": title}))
        wait_for(lambda: pipeline.items.reader._at_work)
    unread = pipeline.items.reader.unread()
    release.set()
    finish(pipeline)

    assert unread == {given, 0}  # the first, which is being read, and the last; nobody needs the others any more
    assert len(pipeline.catalog) == given + 2
    assert vector(pipeline, item_id) == apart(pipeline, ItemText(title="Four"))


def test_an_item_whose_texts_cannot_be_read_occupies_no_more_rows(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id, given = pipeline.catalog.ids[0], len(pipeline.catalog)
    broken = threading.Event()
    monkeypatch.setattr("recsys.text.reader._LAST_RETRY_S", 0.1)

    def fail(*_: Any) -> Any:
        broken.set()
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(TextModel, "encode", fail)
        for version in range(30):
            pipeline.upsert(frame({"item_id": item_id, "title": f"Version {version}"}))
        assert broken.wait(30)
    finish(pipeline)

    assert len(pipeline.catalog) <= given + 3
    assert vector(pipeline, item_id) == apart(pipeline, ItemText(title="Version 29"))


STORM = [f"storm-{n}" for n in range(12)]
TITLES = [f"A coat, size {n}" for n in range(6)]


def change(pipeline: RankingPipeline, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        ids = rng.choice(STORM, 4, replace=False).tolist()
        if rng.random() < 0.2:
            pipeline.delete(ids)
        else:
            pipeline.upsert(frame(*({"item_id": each, "title": str(rng.choice(TITLES))} for each in ids)))


def look(pipeline: RankingPipeline, expected: bytes, possible: dict[str, bytes]) -> None:
    """Rank the changing items among others, and look at whatever may be looked at."""
    known = pipeline.catalog.ids[:5]
    sent = Candidate(item_id="sent", text=ItemText(title=TITLES[0]))
    ranking = rank(pipeline, *known, *STORM, sent, history=(HistoryEntry(item_id=STORM[0]),), query="a lamp")
    assert sorted(item.item_id for item in ranking.items) == sorted([*known, *STORM, "sent"])
    assert not set(ranking.items_without_text) & {*known, "sent"}
    with pipeline.items.reading():
        rows = pipeline.catalog.rows(STORM)
        now = pipeline.vectors
        rows = now.with_text(rows[rows >= 0])
        rows = rows[rows >= 0]
        texts = pipeline.catalog.texts(rows.tolist())
        for text, vector, logit in zip(texts, *now.at(rows), strict=True):
            assert vector.tobytes() + logit.tobytes() == possible[text.title]
    assert outputs(pipeline, *known, history=(), query="a lamp").tobytes() == expected


def test_a_storm_of_changes_disturbs_no_ranking(opened: Callable[..., RankingPipeline], store: Path) -> None:
    pipeline, plain = opened(store), opened()
    possible = {title: apart(plain, ItemText(title=title)) for title in TITLES}
    given = len(pipeline.catalog)
    rank(pipeline, *STORM)  # so that nothing is compiled while a row is read
    expected = outputs(plain, *plain.catalog.ids[:5], history=(), query="a lamp").tobytes()
    with ThreadPoolExecutor(6) as threads:
        changing = [threads.submit(change, pipeline, seed) for seed in range(3)]

        def looking() -> int:
            rounds = 0
            while not all(job.done() for job in changing):
                look(pipeline, expected, possible)
                rounds += 1
            return rounds

        rounds = [job.result(120) for job in [threads.submit(looking) for _ in range(3)]]
        assert [job.result() for job in changing] == [None] * 3
    finish(pipeline)

    assert min(rounds) > 0
    assert len(pipeline.catalog) < given + 25 * len(STORM)  # of some 600 changes; who reads may stand still for long
    for item_id in STORM:
        if pipeline.catalog.rows([item_id])[0] >= 0:
            assert vector(pipeline, item_id) == apart(plain, text_of(pipeline, item_id))
